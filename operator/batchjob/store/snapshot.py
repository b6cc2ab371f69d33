"""What can be read of a run: a snapshot for the status, dead letters, results. Values only; no I/O."""

from typing import Any, NamedTuple

import msgspec

from batchjob.api.status import Counts
from batchjob.core.breaker import read_trip
from batchjob.core.items import RunState
from batchjob.core.snapshot import LastError, Snapshot
from batchjob.errors import StoreDamaged

# Lua packs every string as text; JSON is UTF-8, so it comes back unchanged.
_error = msgspec.msgpack.Decoder(tuple[str, str, str])
_letter = msgspec.msgpack.Decoder(tuple[str, str, str, int, int, str, int])


class ItemResult(NamedTuple):
    """The result of one item: `result` is the JSON document that its processor returned."""

    position: int
    id: str
    result: bytes

    @property
    def size(self) -> int:
        """Bytes that it counts in the store."""
        return len(self.id.encode()) + len(self.result)


class DeadLetter(msgspec.Struct, frozen=True):
    """An item that was given up. `data` is its JSON, `attempts` those spent, `at_ms` the store's clock."""

    position: int
    id: str
    error_class: str
    message: str
    attempts: int
    losses: int
    data: bytes
    at_ms: int


def read_snapshot(reply: list[Any]) -> Snapshot:
    """A snapshot from what snapshot.lua answered. Raises StoreDamaged if a tenant wrote nonsense into its own keys."""
    try:
        return _snapshot(reply)
    except (ValueError, KeyError, msgspec.MsgspecError) as error:  # pydantic's errors are ValueErrors
        raise StoreDamaged(f"what the store remembers of the run is damaged: {error}") from error


def _snapshot(reply: list[Any]) -> Snapshot:
    meta, counters, usage, failed, errors, due = reply
    facts = _texts(meta)
    total = int(facts["total"]) if "total" in facts else None
    trouble = facts.get("load_error_class"), facts.get("load_error_message")
    return Snapshot(
        epoch=facts["epoch"],
        state=RunState(facts["state"]),
        paused=facts.get("paused") == "1",
        total=total,
        counts=Counts(total=total or 0, **_numbers(counters) | ({} if "total" in facts else _known_before(facts))),
        usage=_numbers(usage),
        failed_positions=[int(position) for position in failed],
        last_errors=[LastError(*_error.decode(entry)) for entry in errors],
        reason=facts.get("reason"),
        message=facts.get("message"),
        abandoned=facts.get("abandoned") == "1",
        breaker=facts.get("breaker", ""),
        tripped=read_trip(facts["tripped"]) if "tripped" in facts else None,
        resumed_by=facts.get("resumed_by"),
        load_error=(trouble[0], trouble[1] or "") if trouble[0] else None,
        source_sha256=facts.get("source_sha256") or facts.get("pinned_sha256") or None,
        source_etag=facts.get("source_etag") or None,
        bad_items=int(facts.get("bad_items", 0)),
        bad_item_messages=facts.get("bad_item_messages", "").splitlines(),
        missing_results=int(facts.get("missing_results", 0)),
        results_uri=facts.get("results_uri") or None,
        manifest_sha256=facts.get("manifest_sha256") or None,
        next_due_ms=None if due < 0 else due,
        reached=int(facts.get("reached", 0)),
        version=int(facts["version"]),
    )


def _known_before(facts: dict[str, str]) -> dict[str, int]:
    """What load_finish.lua will count of a run that is made again: whoever looks before must not forget it."""
    repeats, cancelled = int(facts.get("repeats", 0)), int(facts.get("done_cancelled", 0))
    return {"retried_after_loss": repeats, "cancelled": cancelled} if repeats or cancelled else {}


def read_dead_letter(position: int, packed: bytes) -> DeadLetter:
    """A dead letter from its packed form. Raises StoreDamaged, as above."""
    try:
        item_id, error_class, message, attempts, losses, data, at_ms = _letter.decode(packed)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise StoreDamaged(f"the record of failed item {position} is damaged: {error}") from error
    return DeadLetter(position, item_id, error_class, message, attempts, losses, data.encode(), at_ms)


def _texts(flat: list[bytes]) -> dict[str, str]:
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in zip(flat[::2], flat[1::2], strict=True)
    }


def _numbers(flat: list[bytes]) -> dict[str, int]:
    return {name: int(value) for name, value in _texts(flat).items()}
