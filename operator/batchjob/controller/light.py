"""A BatchJob without what is long in it, as it is kept from the moment when the watch tells of it.

One with 64 KiB of items takes a megabyte as Python has it, and thousands may wait or pause. Only the run's Secret holds
the items: they are read again, from the API server, when that is made. Until then their number and size are enough.
"""

import json
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from batchjob.api.v1alpha1 import SCHEDULED_AT, TRACEPARENT
from batchjob.controller.rows import mapping
from batchjob.core.schedule_runs import IN_TURN

NOTES: Final = frozenset({TRACEPARENT, SCHEDULED_AT, IN_TURN})  # annotations that somebody here reads
LONGEST_NOTE: Final = 256
_INLINE: Final = "inline"  # beside metadata, spec and status, in our copy alone


class Inline(NamedTuple):
    """The items in a manifest."""

    number: int = 0
    size_bytes: int = 0  # as JSON


def measure(items: list[Any]) -> Inline:
    """How many, and how long."""
    return Inline(len(items), len(json.dumps(items, separators=(",", ":")).encode()))


def lighten(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out, in place, the items and what others wrote into the metadata; returns the same object.

    In place, because kopf holds on to what it told for another second.
    """
    shed(body["metadata"], NOTES)
    items = mapping(mapping(body.get("spec")).get("source")).pop("items", None)
    if isinstance(items, list):
        body[_INLINE] = measure(items)
    return body


def shed(metadata: dict[str, Any], kept: Collection[str]) -> None:
    """Leave out, in place, the books of who wrote what, and annotations but the `kept` ones, which are short."""
    metadata.pop("managedFields", None)
    notes = mapping(metadata.get("annotations"))  # with kubectl's copy of the whole object
    for name in [name for name, note in notes.items() if name not in kept or len(note) > LONGEST_NOTE]:
        del notes[name]


def inline_of(body: dict[str, Any]) -> Inline:
    """What an object that was lightened says of its items."""
    return body.get(_INLINE) or Inline()
