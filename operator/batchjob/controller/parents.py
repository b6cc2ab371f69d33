"""The BatchJob that another one reads, as far as that other one has to know it. Pure."""

from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from batchjob.api.blocks.export import Destination
from batchjob.api.run import ParentResults, run_folder
from batchjob.controller.known import Entry
from batchjob.controller.observed import Parent, Trouble
from batchjob.controller.status import format_time
from batchjob.core.reasons import Reason


def build_parent(entry: Entry, now: datetime) -> Parent:
    """What a reader knows of this BatchJob."""
    expired = format_time(entry.expires_at) if entry.expires_at and entry.has_expired(now) else None
    parent = Parent(entry.uid, entry.type, entry.ended, entry.complete, entry.owner, expired=expired)
    if entry.destination is None:
        return parent
    try:
        place = Destination.model_validate(entry.destination)
    except ValidationError as error:  # that one's trouble, and not a fault of who reads it
        return replace(parent, unreadable=_unreadable(entry.name, error))
    return replace(parent, results=ParentResults(destination=place, folder=run_folder(entry.name, entry.uid)))


def _unreadable(name: str, error: ValidationError) -> Trouble:
    message = (
        f"spec.source: spec.results.destination of BatchJob {name} cannot be read by this operator "
        f"({error.errors()[0]['msg']}). Create that one again, or upgrade the operator."
    )
    return Trouble(Reason.SOURCE_UNREACHABLE, message)
