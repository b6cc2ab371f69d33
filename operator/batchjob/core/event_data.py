"""What live events say: the data of each type. The events are made of these, and AsyncAPI is generated from them.

What is None is left out, but for a total that is not known yet.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class EventData(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What all of them are; each has the `jobId` too."""

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class Nothing(EventData, frozen=True):
    """Nothing more."""


class Position(EventData, frozen=True):
    """Its place in its queue, from 1."""

    position: int | None = None


class ProgressTold(EventData, frozen=True):
    """How far it is."""

    progress: Annotated[float, Meta(description="Percent, rounded down; 100 only when nothing is left.")]
    processed: Annotated[int, Meta(description="Items that have ended.")]
    total: Annotated[int | None, Meta(description="Of so many; null while the source is loaded.")]
    item: Annotated[str | None, Meta(description="The item whose processor spoke last.")] = None
    message: Annotated[str | None, Meta(description="What it said.")] = None


class ItemGivenUp(EventData, frozen=True):
    """An item that was given up."""

    position: Annotated[int, Meta(description="In the source, from 0.")]
    item: str
    error_class: str
    error: str


class Why(EventData, frozen=True):
    """A reason, as conditions have it, and a sentence."""

    reason: str | None = None
    message: str | None = None


class Outcome(EventData, frozen=True):
    """What came of a BatchJob: numbers, and where the results are; never an item."""

    processed: int
    total: int
    succeeded: int
    failed: int
    cancelled: int
    usage: dict[str, int]
    results_uri: Annotated[str | None, Meta(description="The manifest of the written files.")] = None


class Completed(EventData, frozen=True):
    """It has succeeded."""

    result: Outcome


class Broken(EventData, frozen=True):
    """It has failed."""

    error: str
    reason: str
    result: Outcome


class Ready(EventData, frozen=True):
    """Whose events come over this connection."""

    owner: str | None
    namespace: str


class Gap(EventData, frozen=True):
    """Events are missing: those after the one that was named are not kept any more, or not all of them."""

    after: Annotated[str, Meta(description="The id of that one.")]
    message: str


class Gone(EventData, frozen=True):
    """The BatchJob that was watched is not there any more, or not theirs."""

    message: str
