"""What is kept of BatchSchedules and their children: all that a look reads, and not what takes the room."""

import copy
import json
from typing import Any

from batchjob.controller.known import build_entry
from batchjob.controller.schedules.manifests import CAUGHT_UP, JOB_TIME
from batchjob.controller.schedules.observed import (
    read_cron_job,
    read_job,
    shorten_cron_job,
    shorten_job,
    shorten_schedule,
    whole,
)
from tests.support.schedule_world import run, world

BOOKS = {"managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]}


def test_a_job_is_read_the_same_and_its_template_is_not_kept() -> None:
    found = world()
    found.fire(found.hour(1))
    [job] = found.jobs.values()
    job["metadata"]["annotations"] |= {CAUGHT_UP: "true", "another": "x" * 1000}
    for _ in range(3):  # from the moment it is there to its end
        kept = shorten_job(copy.deepcopy(job))
        assert read_job(kept, "nightly", "c") == read_job(job, "nightly", "c")
        assert kept["metadata"]["annotations"].keys() == {JOB_TIME, CAUGHT_UP}
        assert kept["spec"].keys() == {"managedBy"}
        found.look()
        if found.runs:
            found.end(run(1))
    assert read_job(job, "nightly", "c")


def test_a_cron_job_is_kept_as_it_is_but_for_the_books_of_who_wrote_what() -> None:
    found = world()
    found.look()
    [cron_job] = found.cron_jobs.values()
    kept = shorten_cron_job(copy.deepcopy(cron_job) | {"metadata": cron_job["metadata"] | BOOKS})
    assert read_cron_job(kept) == read_cron_job(cron_job)


def test_a_schedule_comes_back_whole_and_is_packed_meanwhile() -> None:
    items = [{"id": str(number), "data": {"text": "ü", "number": 1.5, "none": None}} for number in range(100)]
    body: dict[str, Any] = {
        "metadata": {"name": "s", "namespace": "team", "uid": "u", "resourceVersion": "1"},
        "spec": {"schedules": ["0 * * * *"], "jobTemplate": {"spec": {"type": "custom", "source": {"items": items}}}},
        "status": {"activeRuns": 1},
    }
    told = copy.deepcopy(body)
    told["metadata"] |= BOOKS | {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body)}}
    kept = shorten_schedule(told)
    assert isinstance(kept["spec"]["jobTemplate"], str)
    assert kept["metadata"].pop("annotations") == {}
    assert whole(kept) == body
    assert whole(shorten_schedule(kept)) == body, "what is packed stays so"


def test_of_a_run_no_annotation_is_kept_that_nobody_reads_or_that_is_long() -> None:
    notes = {
        "batchjob.dev/scheduled-at": "2026-01-01T00:00:00Z",
        "batchjob.dev/traceparent": "x" * 250_000,
        "batchjob.dev/mine": "y",
        "other": "z",
    }
    body = {
        "metadata": {"name": "a", "namespace": "t", "uid": "u", "resourceVersion": "1", "annotations": notes},
        "spec": {"type": "custom"},
    }
    entry = build_entry(body)
    assert entry.body
    assert entry.body["metadata"]["annotations"] == {"batchjob.dev/scheduled-at": "2026-01-01T00:00:00Z"}
