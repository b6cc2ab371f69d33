"""What watchers of a BatchJob are told, in which order, and how often. Pure: the clock is an argument.

A run's scripts say in the store what happens to its items (`RunEvent`), the BatchJob says where it stands (`Standing`).
Both become one line of events for people (`LiveEvent`). What was told last (`Told`) goes with it: from that and from
what is there now follows what is new, so that whoever tells may be killed at any line, and another one goes on.

Progress is told at most four times a second a BatchJob: of what piles up the last says it all. A change of where it
stands is told each time, and the end always; after it nothing is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from batchjob.api.status import Phase
from batchjob.core.event_data import ItemGivenUp, ProgressTold
from batchjob.core.items import RunState
from batchjob.core.progress import reckon_percent

PROGRESS_MS: Final = 250  # between two events of progress of a BatchJob: more often nobody reads
MOST_DIGITS: Final = 16  # of a number: a run's user may write its own keys by hand
MOST_CHARACTERS: Final = 1024  # of a text, for the same reason
BEGINNING: Final = "0"  # before the first event of a run
DONE: Final = ("succeeded", "failed", "cancelled")
OPEN: Final = ("waiting", "delayed", "active")


class LiveType(StrEnum):
    """The types of events; API."""

    QUEUED = "batch:queued"
    STARTED = "batch:started"
    PROGRESS = "batch:progress"
    ITEM_FAILED = "batch:item_failed"
    SUSPENDED = "batch:suspended"
    RESUMED = "batch:resumed"
    COMPLETE = "batch:complete"
    ERROR = "batch:error"
    CANCELLED = "batch:cancelled"


_ENDS: Final = {
    Phase.SUCCEEDED: LiveType.COMPLETE,
    Phase.FAILED: LiveType.ERROR,
    Phase.CANCELLED: LiveType.CANCELLED,
}
ENDS: Final = frozenset(_ENDS.values())  # nothing is told of a BatchJob after one of these
_WORKS: Final = frozenset({LiveType.STARTED, LiveType.RESUMED})
_BEFORE_ITEMS: Final = _WORKS | {LiveType.QUEUED}  # told before what became of items meanwhile; the others after it


class RunEvent(NamedTuple):
    """One event of a run in the store.

    `kind`: a state that the run has come into (core.items.RunState), `progress`, `item_failed`, `paused`,
    `resumed`, `tripped`.
    `fields`: with a state or progress the counters (none stands for 0), with `item_failed` position, id, class and
    message, with `tripped` how many of how many items had failed, or how many tokens were
    used. Where a processor tells how far its items are, `progress` has `reached` too, thousandths of items that are
    done, those in hand counted in part (it never falls), and `item` and `message`: who spoke last since the event
    before, and what was said.
    """

    id: str  # ascending in a run: `<ms of the store's clock>-<n>`
    kind: str
    fields: dict[str, str]


class LiveEvent(NamedTuple):
    """One event for people."""

    type: LiveType
    time_ms: int
    seq: int  # of its BatchJob, from 1, one more each time
    data: dict[str, Any]


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What was told of a BatchJob. Kept beside the events, and changed in one step with them."""

    cursor: str = BEGINNING  # id of the last event of its run
    seq: int = 0
    stands: LiveType | None = None  # the last event that says where it stands
    begun: bool = False
    loaded: bool = False  # its run has all its items
    progress_ms: int = 0  # when progress was told last


@dataclass(frozen=True)
class Standing:
    """Where a BatchJob stands, as its status says from some moment on."""

    phase: Phase
    time_ms: int
    data: dict[str, Any]  # what is told with it


@dataclass(frozen=True)
class News:
    """What is to be told, and what has to wait."""

    events: Sequence[LiveEvent]
    told: Told
    left: Sequence[Standing] = ()  # to be brought again
    again: bool = False  # there is more, for PROGRESS_MS later


def turn(told: Told, phase: Phase) -> LiveType | None:
    """The event that says that a BatchJob has come into a phase; None where there is nothing to say."""
    last = told.stands
    if last in ENDS:
        return None
    found: LiveType | None = _ENDS.get(phase)
    if phase is Phase.QUEUED:
        found = LiveType.QUEUED
    elif phase is Phase.SUSPENDED:
        found = LiveType.SUSPENDED
    elif phase in {Phase.RUNNING, Phase.FINALIZING} and last not in _WORKS:
        found = LiveType.RESUMED if told.begun else LiveType.STARTED
    return None if found is last else found


def news(
    job: str, told: Told, seen: Sequence[RunEvent], standings: Sequence[Standing], now_ms: int, *, more: bool = False
) -> News:
    """What is new of a BatchJob. `seen`: of its run, after the cursor; `more`: there are further ones, not read yet."""
    teller = _Teller(job, told)
    turns: list[tuple[LiveType, Standing]] = []
    for standing in standings:
        if kind := turn(teller.told, standing.phase):
            turns.append((kind, standing))
            teller.stand(kind)
    split = max((at for at, (kind, _) in enumerate(turns, 1) if kind in _BEFORE_ITEMS), default=0)
    ends = any(kind in ENDS for kind, _ in turns)
    if told.stands in ENDS or not (teller.told.begun or ends):  # it has a start to come, whose news brings these
        seen, more = [], False
    last = max((at for at, event in enumerate(seen) if _is_progress(event)), default=-1)  # it overtakes those before
    waits = False
    if last >= 0 and 0 <= now_ms - told.progress_ms < PROGRESS_MS:  # below 0: another clock told it
        waits = more or not ends  # an end does not, and says more than the last progress
        seen, last = seen[:last] if waits else seen, -1
    teller = _Teller(job, told)
    for kind, standing in turns[:split]:
        teller.tell_turn(kind, standing)
    for at, event in enumerate(seen):
        teller.tell_item(event, now_ms, with_progress=at == last)
    left = [standing for _, standing in turns[split:]] if waits or more else []
    if not left:
        for kind, standing in turns[split:]:
            teller.tell_turn(kind, standing)
    return News(teller.events, teller.told, left, waits or more)


def _is_progress(event: RunEvent) -> bool:
    return event.kind in {"progress", RunState.OPEN, RunState.SEALING}


class _Teller:
    """Puts events in line."""

    def __init__(self, job: str, told: Told) -> None:
        self._job = job
        self.told = told
        self.events: list[LiveEvent] = []

    def stand(self, kind: LiveType) -> None:
        begun = self.told.begun or kind in _WORKS
        self.told = msgspec.structs.replace(self.told, stands=kind, begun=begun)

    def tell_turn(self, kind: LiveType, standing: Standing) -> None:
        self.stand(kind)
        self._tell(kind, standing.time_ms, standing.data)

    def tell_item(self, event: RunEvent, now_ms: int, *, with_progress: bool) -> None:
        time_ms = _number(event.id.partition("-")[0])
        loaded = self.told.loaded or event.kind in {RunState.OPEN, RunState.SEALING}
        self.told = msgspec.structs.replace(self.told, cursor=event.id, loaded=loaded)
        if event.kind == "item_failed":
            self._tell(LiveType.ITEM_FAILED, time_ms, build_failure(event.fields))
        elif with_progress:
            self.told = msgspec.structs.replace(self.told, progress_ms=now_ms)
            self._tell(LiveType.PROGRESS, time_ms, build_progress(event.fields, loaded=loaded))

    def _tell(self, kind: LiveType, time_ms: int, data: dict[str, Any]) -> None:
        self.told = msgspec.structs.replace(self.told, seq=self.told.seq + 1)
        self.events.append(LiveEvent(kind, time_ms, self.told.seq, {"jobId": self._job} | data))


def build_progress(fields: dict[str, str], *, loaded: bool) -> dict[str, Any]:
    """What is told of progress: percent, rounded down, and items that have ended, of all (None: not known yet)."""
    processed = sum(_number(fields.get(name, "")) for name in DONE)
    total = processed + sum(_number(fields.get(name, "")) for name in OPEN) if loaded else None
    percent = reckon_percent(processed, total, _number(fields.get("reached", "")))
    said = {name: fields[name][:MOST_CHARACTERS] for name in ("item", "message") if name in fields}
    return ProgressTold(percent, processed, total, **said).to_json()


def build_failure(fields: dict[str, str]) -> dict[str, Any]:
    """What is told of an item that was given up."""
    item, error_class, error = (fields.get(name, "")[:MOST_CHARACTERS] for name in ("id", "class", "message"))
    return ItemGivenUp(_number(fields.get("position", "")), item, error_class, error).to_json()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else 0
