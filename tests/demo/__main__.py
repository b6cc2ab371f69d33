"""Run with `make demo`, remove with `make demo-down`.

The cluster is up and the images are in when this starts. It installs the chart, starts the neighbours (test
equipment: a chat server, a mail sink, an S3 store), opens the admin UI, loads 3,708 review sentences and applies three
manifests from `examples/`. What it prints at the end is read back from where a user would look: kubectl, the bucket,
the mailbox.
"""

import csv
import hashlib
import io
import json
import statistics
import sys
import textwrap
from contextlib import ExitStack
from email import message_from_bytes
from email.policy import default
from typing import Any, Final

from tests.demo.admin_ui import close_admin_ui, open_admin_ui
from tests.demo.screen import LiveTable, Steps, table
from tests.support.installation import EXAMPLES, RELEASE, SYSTEM, Installation
from tests.support.kubectl import Kubectl, wait_until
from tests.support.neighbours.client import Neighbours
from tests.support.reviews import Review, reviews

NAMESPACE: Final = "demo"
ADMIN: Final = "admin"
MANIFESTS: Final = ("ai-batch-reviews.yaml", "export-reviews.yaml", "email-reviewers.yaml")
JOBS: Final = ("annotate-reviews", "export-reviews", "mail-reviewers")
TERMINAL: Final = {"Succeeded", "Failed", "Cancelled"}
PATIENCE_SECONDS: Final = 900


def main() -> int:
    """Run the demo; 0 when all three BatchJobs are Complete."""
    steps = Steps()
    installation = Installation()
    with steps.step("Fetch 3,708 sentences of product reviews"):
        sentences = reviews()
    with steps.step("helm install the operator and its store"):
        installation.install()
    with steps.step("Start the neighbours (a chat server, a mail sink, an S3 store: test equipment)"):
        demo = installation.install_neighbours(NAMESPACE)
    demo.apply(*_administrator())
    with steps.step("Open the admin UI"):
        print(f"    {(pages := open_admin_ui(installation.cluster.within(SYSTEM), f'{RELEASE}-gateway'))}")
        print(f"    The token to sign in with, for four hours:\n\n{demo('create', 'token', ADMIN, '--duration=4h')}\n")
    with ExitStack() as open_forwards:
        ports = {
            port: open_forwards.enter_context(demo.port_forward("service/neighbours", port)) for port in (8080, 9000)
        }
        neighbours = Neighbours(f"http://127.0.0.1:{ports[8080]}", s3=f"http://127.0.0.1:{ports[9000]}")
        with steps.step("Load the sentences into the bucket"):
            neighbours.put_object("batchjob", "reviews.jsonl", _as_jsonl(sentences))
        with steps.step("kubectl apply three BatchJobs and watch them"):
            _run(demo)
        complete = _show(demo, neighbours, sentences)
    print(f"\nTime of each step:\n{steps.summary()}\n\n{_next(installation, pages)}")
    return 0 if complete else 1


def _administrator() -> list[dict[str, Any]]:
    """Somebody to sign in to the admin UI as: everything on this cluster is theirs."""
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ADMIN}},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{NAMESPACE}-{ADMIN}"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": ADMIN, "namespace": NAMESPACE}],
        },
    ]


def _as_jsonl(sentences: list[Review]) -> bytes:
    return b"".join(json.dumps({"id": r.id, "text": r.text}).encode() + b"\n" for r in sentences)


def _run(demo: Kubectl) -> None:
    demo("delete", "batchjob", *JOBS, "--ignore-not-found", "--wait")
    for name in MANIFESTS:
        print(textwrap.indent(demo("apply", "-f", EXAMPLES / name).rstrip(), "    "))
    screen = LiveTable()

    def jobs() -> list[dict[str, Any]]:
        found = demo.items("batchjobs")
        screen.draw(found)
        return found

    def all_ended(found: list[dict[str, Any]]) -> bool:
        return all(job.get("status", {}).get("phase") in TERMINAL for job in found)

    wait_until(jobs, "the three BatchJobs to end", timeout=PATIENCE_SECONDS, until=all_ended, every=1.0)


def _show(demo: Kubectl, neighbours: Neighbours, sentences: list[Review]) -> bool:
    found = demo.items("batchjobs")
    _heading("kubectl get batchjobs", demo("get", "batchjobs"))
    for job in found:
        if job["status"]["phase"] != "Succeeded":
            _heading(f"{job['metadata']['name']} did not succeed", json.dumps(job["status"]["conditions"], indent=2))
            return False
    export = next(job for job in found if job["metadata"]["name"] == "export-reviews")
    manifest_url = export["status"]["results"]["uri"]
    manifest = neighbours.get_object(*_bucket_and_key(manifest_url))
    _heading(f"The export's manifest, {manifest_url}", manifest.decode())
    rows = _exported_rows(neighbours, manifest_url, json.loads(manifest))
    _heading("Ten annotated sentences", "\n".join(_ten(rows)))
    ratings = {review.id: review.rating for review in sentences}
    ours = [float(row["score"]) for row in rows]
    theirs = [ratings[row["id"]] for row in rows]
    correlation = statistics.correlation(ours, theirs)
    _heading(
        "Our scores and the mean rating of 20 people", f"Pearson's r = {correlation:.3f} over {len(rows)} sentences"
    )
    _heading("One of the mails", _readable(neighbours.mail(neighbours.mails(limit=1)[-1]["sequence"])))
    return True


def _exported_rows(neighbours: Neighbours, manifest_url: str, manifest: dict[str, Any]) -> list[dict[str, str]]:
    """Every row of the exported parts, each part checked against the manifest's SHA-256."""

    bucket, key = _bucket_and_key(manifest_url)
    rows: list[dict[str, str]] = []
    for part in manifest["parts"]:
        body = neighbours.get_object(bucket, f"{key.rpartition('/')[0]}/{part['name']}")
        if hashlib.sha256(body).hexdigest() != part["sha256"]:
            raise ValueError(f"{part['name']} does not match its checksum in the manifest")
        rows += csv.DictReader(io.StringIO(body.decode("utf-8"), newline=""))
    return rows


def _readable(mail: bytes) -> str:
    """A mail as a reader shows it: headers as they are, the text decoded."""
    message = message_from_bytes(mail, policy=default)
    headers = [f"{name}: {value}" for name, value in message.items()]
    return "\n".join([*headers, "", message.get_content()])


def _ten(rows: list[dict[str, str]]) -> list[str]:
    chosen = rows[:: max(1, len(rows) // 10)][:10]
    shown = [(r["id"], r["sentiment"], r["score"], textwrap.shorten(r["text"], 60)) for r in chosen]
    return [line.strip() for line in table(shown, ("ID", "SENTIMENT", "SCORE", "TEXT"))]


def _bucket_and_key(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def _heading(title: str, body: str) -> None:
    print(f"\n--- {title}\n{textwrap.indent(body.rstrip(), '    ')}")


def _next(installation: Installation, pages: str) -> str:
    return textwrap.dedent(f"""\
        To try next:
          eval "$(.venv/bin/python -m tests.localcluster env)"     # kubectl and helm, and this cluster
          kubectl -n {NAMESPACE} describe batchjob annotate-reviews
          kubectl -n {NAMESPACE} apply -f examples/custom-noop.yaml && kubectl -n {NAMESPACE} get batchjobs -w
        The admin UI stays at {pages}, and another token is to be had by:
          kubectl -n {NAMESPACE} create token {ADMIN}
        The release is {RELEASE} in {SYSTEM} ({installation.kubeconfig}). `make demo-down` removes it all.""")


def down() -> int:
    """Remove what the demo installed."""
    close_admin_ui()
    installation = Installation()
    installation.cluster("delete", "clusterrolebinding", f"{NAMESPACE}-{ADMIN}", "--ignore-not-found")
    installation.cluster("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout=150)
    installation.uninstall()
    return 0


if __name__ == "__main__":
    sys.exit(down() if sys.argv[1:] == ["down"] else main())
