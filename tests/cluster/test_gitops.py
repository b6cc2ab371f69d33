"""BatchJobs under Flux, Argo CD or Helm: what they apply stays as it is, and the first status says how it stands."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_queues import watched
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop

pytestmark = pytest.mark.usefixtures("operator")

AS_GITOPS = ("--server-side", "--field-manager=gitops")


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


def first_statuses(log: Path) -> dict[str, Any]:
    """By BatchJob, the first status that a watch saw."""
    decoder, text, at = json.JSONDecoder(), log.read_text(), 0
    found: dict[str, Any] = {}
    while at < len(text.rstrip()):
        try:
            item, end = decoder.raw_decode(text, at)
        except ValueError:
            break  # the last one is still being written
        at = end + 1
        if status := item.get("status"):
            found.setdefault(item["metadata"]["name"], status)
    return found
