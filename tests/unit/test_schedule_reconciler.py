"""What the leader reads of the objects of a BatchSchedule, and when it leaves them alone."""

from typing import Any
from unittest.mock import AsyncMock

import pytest

from batchjob.controller.schedules.manifests import JOB_MANAGER, JOB_TIME
from batchjob.controller.schedules.observed import read_job, read_run, shorten_run
from batchjob.controller.schedules.reconciler import Schedules

CREATED = "2026-01-01T00:00:00Z"


def metadata(name: str, **more: Any) -> dict[str, Any]:
    return {"namespace": "team", "name": name, "uid": f"u-{name}", "resourceVersion": "5", **more}


async def test_a_schedule_that_is_being_deleted_makes_nothing() -> None:
    kube = AsyncMock()
    schedules = Schedules(kube, [None], "worker:1", lambda _: None)
    body = {"metadata": metadata("nightly", deletionTimestamp=CREATED), "spec": {}}
    schedules._schedules._apply("ADDED", body)
    await schedules._look_once(("team", "nightly"))
    assert kube.mock_calls == []


@pytest.mark.parametrize(
    "text", ["now", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"]
)
def test_a_time_that_is_none_in_utc_makes_a_job_one_that_was_made_by_hand(text: str) -> None:
    body = {
        "metadata": metadata("j", creationTimestamp=CREATED, annotations={JOB_TIME: text}),
        "spec": {"managedBy": JOB_MANAGER},
    }
    job = read_job(body, "nightly", "u-cron")
    assert job
    assert (job.by_hand, job.run) == (True, "j")


def test_of_a_run_only_that_is_kept_which_is_read_of_it() -> None:
    condition = {"type": "Complete", "status": "True", "reason": "Succeeded", "message": "3 items succeeded."}
    status = {"phase": "Succeeded", "completionTime": CREATED, "conditions": [condition]}
    body = {
        "metadata": metadata("r", labels={"l": "v"}),
        "spec": {"owner": "ada", "source": {"items": [{"id": "a"}]}},
        "status": status | {"counts": {"total": 3}, "failedItems": "1-2"},
    }
    kept = shorten_run(body)
    assert (kept["spec"], kept["status"]) == ({"owner": "ada"}, status)
    assert read_run(kept, "u-j") == read_run(body, "u-j")
