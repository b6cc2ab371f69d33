"""What Argo CD and Flux are told of our kinds: of each phase the right health, and a menu that does what others do."""

from typing import Any, Final

import cel
import pytest
import yaml

from batchjob.api.base import MAX_NAME
from batchjob.api.status import ConditionType, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.actions import HELD, Action, build_change, build_redrive, obstacle
from batchjob.core.phases import CONDITIONS
from batchjob.core.reasons import Reason
from tests.support.argocd import FILE, act, health, menu
from tests.support.manifests import API_VERSION, inline, noop

# What Argo CD shows of (phase, does it stall): a hook ends with Healthy or Degraded, and waits with all others.
SHOWN: Final = {
    (Phase.PENDING, False): "Progressing",
    (Phase.PENDING, True): "Degraded",
    (Phase.QUEUED, False): "Progressing",
    (Phase.RUNNING, False): "Progressing",
    (Phase.RUNNING, True): "Degraded",
    (Phase.SUSPENDED, False): "Suspended",
    (Phase.SUSPENDED, True): "Degraded",
    (Phase.FINALIZING, False): "Progressing",
    (Phase.FINALIZING, True): "Degraded",
    (Phase.SUCCEEDED, False): "Healthy",
    (Phase.FAILED, True): "Degraded",
    (Phase.CANCELLED, False): "Degraded",
}
EVERY: Final = pytest.mark.parametrize("row", CONDITIONS, ids=lambda row: f"{row[0]}{'-stalled' * row[1]}")


def batchjob(row: tuple[Phase, bool], reason: str = Reason.INVALID_SPEC, **spec: Any) -> dict[str, Any]:
    """A BatchJob as the API server hands it out, in a phase."""
    body = noop("one", inline(2), **spec)
    body["metadata"] |= {"namespace": "team", "uid": "u-1", "generation": 2}
    conditions = [
        {
            "type": kind,
            "status": "True" if kind in CONDITIONS[row] else "False",
            "reason": reason,
            "message": "As it is.",
            "lastTransitionTime": "2026-11-27T09:00:00Z",
        }
        for kind in ConditionType
    ]
    counts = {"total": 2, "failed": 0}
    return body | {"status": {"phase": row[0], "observedGeneration": 2, "conditions": conditions, "counts": counts}}


@EVERY
def test_argo_cd_shows_each_phase(row: tuple[Phase, bool]) -> None:
    status, message = health(batchjob(row))
    assert status == SHOWN[row]
    assert message == (f"{Reason.INVALID_SPEC}: As it is." if CONDITIONS[row] else row[0])


def test_argo_cd_waits_for_what_passes_by_itself() -> None:
    running, waits = (Phase.RUNNING, True), (Phase.SUSPENDED, False)
    for reason in (Reason.STORE_UNAVAILABLE, Reason.SOURCE_UNREACHABLE, Reason.POD_UNSCHEDULABLE):
        assert health(batchjob(running, reason))[0] == "Progressing"
    assert health(batchjob(waits, Reason.ALL_DELAYED))[0] == "Progressing"


@EVERY
def test_argo_cd_waits_until_the_operator_has_seen_it_but_an_end_is_an_end(row: tuple[Phase, bool]) -> None:
    body = batchjob(row)
    body["metadata"]["generation"] = 3
    ended = {ConditionType.COMPLETE, ConditionType.FAILED} & CONDITIONS[row]
    assert (health(body)[0] == "Progressing") == (not ended)
    body.pop("status")
    assert health(body)[0] == "Progressing"


@EVERY
@pytest.mark.parametrize("reason", [Reason.INVALID_SPEC, *sorted(HELD)])
@pytest.mark.parametrize("spec", [{}, {"suspend": True}, {"cancel": True}], ids=str)
@pytest.mark.parametrize("failed", [0, 1])
def test_the_menu_offers_what_can_be_done(
    row: tuple[Phase, bool], reason: Reason, spec: dict[str, Any], failed: int
) -> None:
    body = batchjob(row, reason, **spec)
    body["status"]["counts"]["failed"] = failed
    assert menu(body) == {one for one in Action if obstacle(one, BatchJob.parse(body)) is None}


@pytest.mark.parametrize("action", [Action.SUSPEND, Action.RESUME, Action.CANCEL])
def test_an_action_changes_what_the_api_changes(action: Action) -> None:
    body = batchjob((Phase.RUNNING, False))
    changed = act(body, action)["spec"]
    wanted = build_change(action, BatchJob.parse(body), changed.get("resumeToken", ""))["spec"]
    assert changed == body["spec"] | wanted


def test_a_redrive_is_what_the_api_makes() -> None:
    body = batchjob((Phase.FAILED, True), suspend=True, resumeToken="a", parallelism=3, worker={"env": []})
    body["metadata"] |= {"labels": {"team": "x"}}
    [made] = act(body, "redrive")
    job = made["resource"]
    wanted = build_redrive(BatchJob.parse(body), body, {})
    wanted.pop("worker")  # nothing is in it, and Lua cannot tell an empty table from a list
    assert (made["operation"], job["spec"]) == ("create", wanted)
    assert (job["metadata"]["namespace"], job["metadata"]["labels"]) == ("team", {"team": "x"})
    assert job["metadata"]["name"].startswith("one-redrive-")
    BatchJob.parse(job)
    body["metadata"]["name"] = "n" * MAX_NAME
    assert act(body, "redrive")[0]["resource"]["metadata"]["name"].startswith("redrive-")


@pytest.mark.parametrize(
    ("true", "shown"),
    [
        ("Stalled", ("Degraded", "Scheduled: As it is.")),
        ("Reconciling", ("Progressing", "Scheduled: As it is.")),
        ("Suspended", ("Suspended", "Scheduled: As it is.")),
        ("", ("Healthy", "next run 2026-11-30T09:00:00Z")),
    ],
)
def test_argo_cd_shows_a_schedule(true: str, shown: tuple[str, str]) -> None:
    conditions = [
        {"type": kind, "status": str(kind == true), "reason": "Scheduled", "message": "As it is."}
        for kind in ("Reconciling", "Stalled", "Suspended")
    ]
    status = {"observedGeneration": 1, "conditions": conditions, "nextScheduleTime": "2026-11-30T09:00:00Z"}
    body = {"apiVersion": API_VERSION, "kind": "BatchSchedule", "metadata": {"generation": 1}, "spec": {}}
    assert health(body)[0] == "Progressing"
    assert health(body | {"status": status}) == shown


@pytest.mark.parametrize(
    ("kind", "field", "stop"), [("BatchSchedule", "suspend", "suspend"), ("BatchQueue", "paused", "pause")]
)
def test_schedules_and_queues_are_stopped_and_go_on(kind: str, field: str, stop: str) -> None:
    body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": kind, "spec": {"other": 1}}
    assert menu(body) == {stop}
    stopped = act(body, stop)
    assert stopped["spec"] == {"other": 1, field: True}
    assert menu(stopped) == {"resume"}
    assert act(stopped, "resume")["spec"] == {"other": 1, field: False}


def test_a_queue_that_is_paused_is_shown_so() -> None:
    body = {"apiVersion": API_VERSION, "kind": "BatchQueue"}
    assert (health(body)[0], menu(body)) == ("Healthy", {"pause"})
    assert act(body, "pause")["spec"] == {"paused": True}
    assert health(body | {"spec": {"paused": True}})[0] == "Suspended"


@EVERY
def test_flux_waits_for_the_end(row: tuple[Phase, bool]) -> None:
    [check] = yaml.safe_load(FILE.with_name("flux.yaml").read_text())["spec"]["healthCheckExprs"]
    assert (check["apiVersion"], check["kind"]) == (API_VERSION, "BatchJob")
    for seen, kind in (("current", ConditionType.COMPLETE), ("failed", ConditionType.FAILED)):
        assert cel.evaluate(check[seen], batchjob(row)) is (kind in CONDITIONS[row])
        assert cel.evaluate(check[seen], {"status": {}}) is False
