"""What goes over the wire: the envelope of a live event, made once for all who watch. Pure.

`{id, type, time, jobId, seq, data}`: `id` is where to go on from after a break, `seq` counts the events of a BatchJob.
What is about the connection itself (`gap`, `ready`, `heartbeat`, `gone`) has no `id`, and is no event of a BatchJob.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from batchjob.store import LiveEntry

ID: Final = re.compile(r"\d{1,15}(-\d{1,15})?", re.ASCII)
MOST_MS: Final = 253_402_300_799_000  # the year 9999: a run that a tenant wrote by hand may say anything
GONE: Final = "the BatchJob was deleted, or is not yours any more: nothing more is told of it"
GAP: Final = "what came after this event is not kept any more, or not all of it: read the BatchJobs again"

_encode: Final = msgspec.json.Encoder().encode


class Frame(NamedTuple):
    """One event, ready to be sent."""

    id: str  # empty: it is about the connection
    job: str
    type: str
    text: str  # JSON, in one line
    uid: str = ""  # of the BatchJob


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event as clients see it."""

    type: str
    time: str
    id: str = ""
    jobId: str = ""  # noqa: N815 - its name in JSON
    seq: int = 0
    data: msgspec.Raw | dict[str, Any] = msgspec.UNSET  # type: ignore[assignment]  # msgspec's own word for: left out


def build_frame(entry: LiveEntry) -> Frame:
    """An event as it lies in the store."""
    data = msgspec.Raw(entry.data)
    envelope = Envelope(entry.type, format_ms(entry.time_ms), entry.id, entry.job, entry.seq, data)
    return Frame(entry.id, entry.job, entry.type, _encode(envelope).decode(), entry.uid)


def build_notice(kind: str, now_ms: int, data: Mapping[str, Any] | None = None) -> Frame:
    """A word about the connection."""
    text = _encode(Envelope(kind, format_ms(now_ms), data={**(data or {})})).decode()
    return Frame("", "", kind, text)


def format_ms(ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(min(ms, MOST_MS) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def sse(frame: Frame) -> bytes:
    """As Server-Sent Events have it: the text has no line break, JSON escapes them."""
    head = f"id: {frame.id}\n" if frame.id else ""
    return f"{head}event: {frame.type}\ndata: {frame.text}\n\n".encode()
