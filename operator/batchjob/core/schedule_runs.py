"""The BatchJob that a BatchSchedule makes: for a time of its, or because somebody wants it now. Pure."""

from datetime import UTC, datetime
from typing import Any, Final

from batchjob.api.base import API_VERSION, GROUP
from batchjob.api.schedule import SCHEDULE_KIND, BatchSchedule, ConcurrencyPolicy
from batchjob.api.v1alpha1 import KIND, SCHEDULED_AT

SCHEDULE_LABEL: Final = f"{GROUP}/schedule"  # on CronJobs, Jobs and BatchJobs: the name of the BatchSchedule
IN_TURN: Final = f"{GROUP}/in-turn"  # on BatchJobs: "true" where it waits for earlier runs


def build_run(
    schedule: BatchSchedule, template: dict[str, Any], name: str, at: datetime, owner: dict[str, Any]
) -> dict[str, Any]:
    """Its BatchJob. `template`: spec.jobTemplate as the API server has it, unknown fields too; `owner`: who owns it."""
    metadata = template.get("metadata") or {}
    time = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    annotations = {**(metadata.get("annotations") or {}), SCHEDULED_AT: time}
    if schedule.spec.concurrency_policy is ConcurrencyPolicy.QUEUE:
        annotations[IN_TURN] = "true"
    # A run is its schedule's owner's, whatever the template says: nobody asks us in whose name we create it.
    spec = {name: value for name, value in template["spec"].items() if name != "owner"}
    if schedule.spec.owner is not None:
        spec["owner"] = schedule.spec.owner
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": schedule.metadata.namespace,
            "labels": {**(metadata.get("labels") or {}), SCHEDULE_LABEL: schedule.metadata.name},
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def build_run_now(schedule: BatchSchedule, template: dict[str, Any], at: datetime, kept_seconds: int) -> dict[str, Any]:
    """The BatchJob of a schedule that somebody wants now.

    As the operator makes them, but without a Job: to make Jobs is a right to run anything, which the gateway does not
    have. So the schedule itself owns it, Forbid, Replace and the history limits do not count it, and it has a TTL.
    """
    metadata = schedule.metadata
    owner = {"apiVersion": API_VERSION, "kind": SCHEDULE_KIND, "name": metadata.name, "uid": metadata.uid}
    name = f"{metadata.name}-{at.astimezone(UTC):%Y%m%d%H%M%S}"  # to the second: those of its times are to the minute
    run = build_run(schedule, template, name, at, owner)
    return run | {"spec": {"ttlSecondsAfterFinished": kept_seconds, **run["spec"]}}
