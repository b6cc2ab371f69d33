"""What the docs tell people to type is typed, block by block, in bash: all succeeds, or is named here with why.

Pages name what is yours in capitals (NAME); what they name else (`sort-tickets`) is there as they say.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.e2e.test_control import begin_slowly
from tests.localcluster.tools import tools_folder
from tests.support.cluster_jobs import Jobs
from tests.support.installation import REPOSITORY, SYSTEM, Installation
from tests.support.kubectl import Kubectl
from tests.support.manifests import ai_batch, email, inline, noop
from tests.support.neighbours.client import Neighbours
from tests.support.pages import Block, blocks, pages

# Blocks by their page and first words, and why nobody types them here.
INSTALLS: Final = "a virtual environment and a registry; make install and the image builds do the same"
FORWARD: Final = "stays until it is ended; the tests of the gateway go through such a port-forward"
NOBODYS: Final = "batchjob.example.org is nobody's; tests/cluster/test_gateway*.py and test_gateway.py send the same"
MIGRATES: Final = "needs a queue of BullMQ, as tests/store/test_migrate.py has one"
NOT_TYPED: Final = {
    ("README.md", "make demo"): "`make test` is what runs this, and the demo takes a cluster of its own",
    ("README.md", "python3 -m venv"): INSTALLS,
    ("README.md", "docker build"): "a registry; the images of these tests are built from the same files",
    ("README.md", "helm install"): "the installation of these tests is this command; test_chart.py has helm test",
    ("charts/batchjob-operator/README.md", "helm upgrade"): "as above",
    ("docs/how-to/admin-ui.md", "kubectl -n batchjob-system port-forward"): FORWARD,
    ("docs/how-to/command-line.md", "pip install"): INSTALLS,
    ("docs/how-to/from-bullmq.md", "batchjob migrate bullmq --redis"): MIGRATES,
    ("docs/how-to/from-bullmq.md", "batchjob migrate bullmq …"): MIGRATES,
    ("docs/how-to/http-api.md", "kubectl -n batchjob-system port-forward"): FORWARD,
    ("docs/how-to/http-api.md", "curl"): NOBODYS,
    ("docs/how-to/http-api.md", "(echo"): NOBODYS,
    ("docs/how-to/production.md", "kubectl -n batchjob-system delete secret"): "the other tests use that store",
    ("docs/how-to/production.md", "helm uninstall"): "the other tests use the installation",
    ("docs/how-to/python-client.md", "pip install"): INSTALLS,
    ("docs/how-to/run-without-a-cluster.md", "python3 -m venv"): INSTALLS,
    ("docs/how-to/run-without-a-cluster.md", "batchjob run"): "no cluster: tests/store/test_local*.py run it",
    ("docs/how-to/watch-live.md", "curl"): NOBODYS,
    (
        "docs/runbooks/BatchJobRedisDown.md",
        "kubectl -n batchjob-system patch pvc",
    ): "claims of this cluster do not grow",
    (
        "docs/runbooks/BatchJobRedisDown.md",
        "batchjob resume",
    ): "test_engine.py goes on with a run of a store that was lost",
    ("docs/runbooks/BatchJobStuck.md", "kubectl get batchjobs -A -o json"): "needs jq",
    ("worker-image/README.md", "batchjob run"): "no cluster: tests/store/test_local*.py run it",
}
# Commands that may fail, by what is in them.
MAY_FAIL: Final = {
    "--previous": "no pod of the operator has crashed",
    "impersonate-owner batchjobs.batchjob.dev --as alice": "alice may not, so the answer is no, and 1",
}
TYPED: Final = [
    block
    for page in pages()
    for block in blocks(page)
    if block.language == "sh" and not any(block.text.startswith(words) for at, words in NOT_TYPED if at == str(page))
]
SHELL: Final = """
set -uo pipefail
failed() { echo "$BASH_COMMAND" >> failed; }
trap failed ERR
grep() { command grep "$@" || [ $? -eq 1 ]; }  # that nothing is found is an answer
"""


@pytest.fixture(scope="module")
def desk(installation: Installation, namespace: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to type in, as an administrator who signs in by a token; with what the pages take for there."""
    folder = tmp_path_factory.mktemp("desk")
    for part in ("charts", "examples"):
        (folder / part).symlink_to(REPOSITORY / part)
    job = noop("", inline(2))
    (folder / "job.yaml").write_text(yaml.safe_dump(job | {"metadata": {"generateName": "typed-"}}))
    (folder / "sort-tickets.yaml").write_text(yaml.safe_dump(ai_batch("sort-tickets", inline(2))))
    there = installation.cluster
    account = f"{namespace.namespace}:docs"
    namespace("create", "serviceaccount", "docs")
    there("create", "clusterrolebinding", "docs", "--clusterrole=cluster-admin", f"--serviceaccount={account}")
    for other in ("argocd", "team-a"):
        there("create", "namespace", other)
    there("create", "configmap", "argocd-cm", "--namespace=argocd")
    config = yaml.safe_load(installation.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": namespace("create", "token", "docs").strip()}
    config["contexts"][0]["context"]["namespace"] = namespace.namespace
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    yield folder
    carols = [f"carol-{role}" for role in ("queue-admin", "view", "edit", "impersonate-owner")]
    there("delete", "clusterrolebinding", "docs", "argocd-names-owners", *carols, "--ignore-not-found")
    there.within(SYSTEM)("delete", "secret", "batchjob-api-keys", "--ignore-not-found")
    there("delete", "batchqueue", "nightly", "export", "--ignore-not-found")
    there("delete", "namespace", "argocd", "team-a", "--timeout=120s", timeout=150)
    namespace("delete", "batchschedule", "weekly-export", "--ignore-not-found")
    namespace("delete", "batchjobs", "--all", "--timeout=120s", timeout=150)


@pytest.fixture(scope="module")
def names(desk: Path, namespace: Kubectl) -> dict[str, str]:
    """What the capitals of the pages stand for."""
    there = Jobs(namespace)
    queue = {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchQueue", "metadata": {"name": "nightly"}}
    namespace.apply(queue | {"spec": {"maxActiveJobs": 1, "rateLimits": [{"key": "a-minute", "requests": 600}]}})
    namespace("apply", "-f", desk / "examples" / "schedule-weekly-export.yaml")
    recipients = {"items": [{"id": str(n), "data": {"name": "A", "email": to}} for n, to in enumerate(("a@b.c", "?"))]}
    there.apply(
        ai_batch("sort-tickets", inline(2)),
        email("mailing", recipients, queueName="nightly"),
        noop("queued", inline(1), queueName="nightly", startAfter="2099-01-01T00:00:00Z"),
    )
    there.wait_condition("mailing", "Failed", "ItemsFailed")
    there.wait_phase("queued", "Queued")
    there.wait_complete("sort-tickets")
    return {
        "NAMESPACE": namespace.namespace,  # before NAME, which is in it
        "NAME": "mailing",
        "QUEUE": "nightly",
        "POD": str(
            namespace.items("pods", "-l", "batchjob.dev/name=mailing")[0]["metadata"]["name"]
        ),  # it may have ended
        "NODE": str(namespace.items("nodes")[0]["metadata"]["name"]),
    }


@pytest.mark.parametrize("block", TYPED, ids=lambda block: f"{block.page}:{block.line}")
def test_what_a_page_tells_people_to_type_succeeds(
    block: Block, desk: Path, names: dict[str, str], jobs: Jobs, neighbours: Neighbours
) -> None:
    if "batchjob cancel NAME" in block.text or "kubectl delete pod" in block.text:
        names = names | {"NAME": begin_slowly(jobs, neighbours, f"slow-{block.line}", 400)}
    text = block.text
    for word, name in names.items():
        text = text.replace(word, name)
    (desk / "failed").unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", "-c", SHELL + text],
        cwd=desk,
        env=os.environ
        | {
            "KUBECONFIG": str(desk / "kubeconfig"),
            "PATH": f"{tools_folder()}:{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    failed = (desk / "failed").read_text().splitlines() if (desk / "failed").exists() else []
    assert [line for line in failed if not any(words in line for words in MAY_FAIL)] == [], json.dumps(done.stderr)


@pytest.mark.parametrize(("page", "words"), NOT_TYPED, ids=str)
def test_what_is_not_typed_is_still_there(page: str, words: str) -> None:
    assert [block for block in blocks(Path(page)) if block.language == "sh" and block.text.startswith(words)]
