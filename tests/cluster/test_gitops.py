"""BatchJobs under Flux, Argo CD or Helm: what they apply stays as it is, and the status says how it stands."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from batchjob.api.reading import UNSEEN
from tests.cluster.test_lifecycle import chaos
from tests.cluster.test_queues import versions, watched
from tests.localcluster.errors import ClusterError
from tests.localcluster.processes import run
from tests.localcluster.tools import helm
from tests.support.argocd import FILE, act, health, menu
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop

pytestmark = pytest.mark.usefixtures("operator")

AS_GITOPS: Final = ("--server-side", "--field-manager=gitops")
FILES: Final = FILE.parent


def test_the_first_status_has_the_generation_and_the_conditions_that_kstatus_reads(jobs: Jobs, tmp_path: Path) -> None:
    """(Reconciling, Stalled): both in False is Current, whatever the run still has to do."""
    wanted = {
        "runs": ("False", "False"),
        "paused": ("False", "False"),
        "later": ("False", "False"),
        "nowhere": ("False", "True"),
    }
    with watched(jobs, tmp_path) as log:
        jobs.apply(
            noop("runs", inline(1)),
            noop("paused", inline(1), suspend=True),
            noop("later", inline(1), startAfter="2099-01-01T00:00:00Z"),
            noop("nowhere", inline(1), queueName="none-such"),
        )
        firsts = wait_until(lambda: first_statuses(log), "all to have a status", until=lambda found: len(found) == 4)
    for name, status in firsts.items():
        conditions = {c["type"]: c for c in status["conditions"]}
        assert status["observedGeneration"] == 1
        assert (conditions["Reconciling"]["status"], conditions["Stalled"]["status"]) == wanted[name]
        assert {c["observedGeneration"] for c in conditions.values()} == {1}


def test_what_is_applied_again_is_no_diff_and_the_operator_owns_nothing_but_the_status(jobs: Jobs) -> None:
    manifest = json.dumps(noop("synced", inline(2), parallelism=2))
    jobs.kubectl("apply", *AS_GITOPS, "-f", "-", stdin=manifest)
    jobs.wait_phase("synced", "Running")
    before = jobs.get("synced")
    assert jobs.kubectl("diff", *AS_GITOPS, "-f", "-", stdin=manifest) == ""
    jobs.kubectl("apply", *AS_GITOPS, "-f", "-", stdin=manifest)
    after = jobs.get("synced")
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], 1)
    assert {key for key in after["metadata"] if key in {"labels", "annotations", "finalizers"}} == set()
    owned = {entry["manager"]: set(entry["fieldsV1"]) for entry in after["metadata"]["managedFields"]}
    assert owned.pop("gitops") == {"f:spec"}
    assert list(owned.values()) == [{"f:status"}]


@pytest.mark.usefixtures("pods")
def test_argo_cd_shows_what_became_of_each_and_its_menu_works(jobs: Jobs) -> None:
    source = inline(2)
    source["items"][0]["data"]["do"] = "fail"
    jobs.apply(
        noop("done", inline(1)),
        chaos("failing", source),
        noop("nowhere", inline(1), queueName="none-such"),
        noop("held", inline(1), suspend=True),
    )
    jobs.wait_complete("done")
    jobs.wait_condition("failing", "Failed", "ItemsFailed")
    jobs.wait_condition("nowhere", "Stalled", "QueueNotFound")
    jobs.wait_phase("held", "Suspended")
    shown = {name: health(jobs.get(name))[0] for name in ("done", "failing", "nowhere", "held")}
    assert shown == {"done": "Healthy", "failing": "Degraded", "nowhere": "Degraded", "held": "Suspended"}
    assert (menu(jobs.get("failing")), menu(jobs.get("held"))) == ({"redrive"}, {"resume", "cancel"})
    [again] = act(jobs.get("failing"), "redrive")
    jobs.kubectl.apply(again["resource"])
    jobs.wait_condition(again["resource"]["metadata"]["name"], "Failed", "ItemsFailed")
    for name, action in (("held", "resume"), ("nowhere", "cancel")):
        jobs.kubectl("patch", "batchjob", name, "--type=merge", "-p", json.dumps(act(jobs.get(name), action)))
    jobs.wait_complete("held")
    jobs.wait_phase("nowhere", "Cancelled")
    assert health(jobs.get("nowhere")) == ("Degraded", "Cancelled: spec.cancel is true.")


def test_helm_waits_until_a_batchjob_is_accepted_and_fails_where_somebody_has_to_do_something(
    jobs: Jobs, tmp_path: Path
) -> None:
    """By the kstatus library that Helm 4 and Flux share: the operator's first word is waited for, and no more."""

    def install(release: str, manifest: dict[str, Any]) -> None:
        chart = tmp_path / release
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text(f"{{apiVersion: v2, name: {release}, version: 0.1.0}}")
        (chart / "templates/job.yaml").write_text(yaml.safe_dump(manifest))
        _helm(jobs, "install", release, str(chart), "--wait", "--timeout", "20s")

    install("later", noop("later", inline(1), startAfter="2099-01-01T00:00:00Z"))
    assert jobs.status("later")["phase"] == "Queued", "it does not wait for the end"
    with pytest.raises(ClusterError, match="nowhere"):
        install("nowhere", noop("nowhere", inline(1), queueName="none-such"))


def test_a_chart_makes_another_run_for_other_values_and_leaves_the_former_one(jobs: Jobs) -> None:
    def runs() -> dict[str, str]:
        return {one["metadata"]["name"]: one["metadata"]["uid"] for one in jobs.kubectl.items("batchjobs")}

    def upgrade(*values: str) -> dict[str, str]:
        _helm(jobs, "upgrade", "--install", "one-shot", str(FILES / "helm"), "--wait", "--timeout", "60s", *values)
        return runs()

    first = upgrade()
    assert len(first) == 1
    assert upgrade() == first
    second = upgrade("--set", "items[0].id=other", "--set", "items[0].data.text=three")
    assert (len(second), first.items() <= second.items()) == (2, True)


@pytest.mark.parametrize("arguments", [("-f", "versioned-name.yaml"), ("-f", "argocd-hook.yaml"), ("-k", "kustomize")])
def test_the_other_ways_of_a_one_shot_are_accepted(jobs: Jobs, arguments: tuple[str, str]) -> None:
    flag, file = arguments
    told = jobs.kubectl("create", "--dry-run=server", flag, FILES / file)
    assert "batchjob.batchjob.dev/" in told


def _helm(jobs: Jobs, *arguments: str) -> None:
    run([helm(), "--kubeconfig", jobs.kubectl.kubeconfig, "--namespace", jobs.kubectl.namespace, *arguments])


def first_statuses(log: Path) -> dict[str, Any]:
    """By BatchJob, the first status that a watch saw."""
    found: dict[str, Any] = {}
    for item in versions(log):
        if (status := item["status"]) != UNSEEN:
            found.setdefault(item["metadata"]["name"], status)
    return found
