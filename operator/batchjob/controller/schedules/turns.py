"""Whose turn it is among the runs of a BatchSchedule with concurrencyPolicy Queue: the oldest that has not ended.

Each waits for the one before it, so an end concerns one other, however many wait.

A label makes no run: anybody may write it. One that others wait for is theirs by owner too, and has the name that its
Job gives it; so a run that was copied with its labels holds up nobody.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from batchjob.api.v1alpha1 import SCHEDULED_AT
from batchjob.controller.informer import Informer, ObjectKey, object_key
from batchjob.controller.known import Entry
from batchjob.controller.schedules.manifests import run_name
from batchjob.core.phases import TERMINAL
from batchjob.core.schedule_runs import IN_TURN, SCHEDULE_LABEL
from batchjob.errors import BatchJobError


class Turns:
    """The queues of all BatchSchedules; `runs` has the BatchJobs by their schedule's name, `look` looks at one."""

    def __init__(self, runs: Informer, look: Callable[[ObjectKey], None]) -> None:
        self._runs = runs
        self._look = look

    def before(self, entry: Entry) -> str | None:
        """The BatchJob that this one has to wait for; None if it is its turn, or it stands in no queue.

        BatchJobError where our copy does not have it yet: what is older may be missing too.
        """
        metadata = entry.body["metadata"] if entry.body else {}
        schedule = metadata.get("labels", {}).get(SCHEDULE_LABEL)
        if not schedule or not _is_in_turn(metadata):
            return None
        run = self._runs.get((entry.namespace, entry.name))
        if run is None or run["metadata"]["uid"] != entry.uid:
            raise BatchJobError(f"the runs of BatchSchedule {schedule} are not all known yet; looking again")
        earlier = (
            other
            for other in self._runs.owned_by(entry.namespace, schedule)
            if not _has_ended(other)
            and _turn(other) < _turn(run)
            and _owner(other) == entry.owner
            and _has_name_of_its_job(other, schedule)
        )
        last = max(earlier, key=_turn, default=None)
        return str(last["metadata"]["name"]) if last else None

    def moved(self, run: dict[str, Any], *, gone: bool) -> None:
        """Where a run ended or went, the one that waits for it may have its turn."""
        if not gone and not _has_ended(run):
            return
        schedule = schedule_of(run) or ""  # of that name there is none
        later = (
            other
            for other in self._runs.owned_by(run["metadata"]["namespace"], schedule)
            if not _has_ended(other) and _turn(other) > _turn(run) and _owner(other) == _owner(run)
        )
        if following := min((other for other in later if _is_in_turn(other["metadata"])), key=_turn, default=None):
            self._look(object_key(following))


def schedule_of(item: dict[str, Any]) -> str | None:
    """The name of the BatchSchedule that an object says it is of."""
    return item["metadata"].get("labels", {}).get(SCHEDULE_LABEL) or None


def _is_in_turn(metadata: dict[str, Any]) -> bool:
    return bool(metadata.get("annotations", {}).get(IN_TURN) == "true")


def _owner(run: dict[str, Any]) -> str | None:
    found: str | None = run.get("spec", {}).get("owner")
    return found


def _has_name_of_its_job(run: dict[str, Any], schedule: str) -> bool:
    metadata = run["metadata"]
    job = next((owner for owner in metadata.get("ownerReferences", ()) if owner.get("controller")), None)
    if job is None or job["kind"] != "Job":
        return False
    try:
        at = datetime.fromisoformat(metadata.get("annotations", {}).get(SCHEDULED_AT, "")).astimezone(UTC)
    except (ValueError, OverflowError):  # written by hand; OverflowError: in UTC it is of no year there is
        return False
    return metadata["name"] in (run_name(schedule, job["name"], at), run_name(schedule, job["name"], None))


def _turn(run: dict[str, Any]) -> tuple[str, str]:
    metadata = run["metadata"]
    return metadata.get("annotations", {}).get(SCHEDULED_AT, ""), metadata["name"]


def _has_ended(run: dict[str, Any]) -> bool:
    return (run.get("status") or {}).get("phase") in TERMINAL
