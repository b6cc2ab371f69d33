"""What a call does to the world, one step at a time. The calls are generators that yield these and decide; pure.

A shell (`sync_client`, `async_client`) carries a step out and sends back what came of it:

    Send      → Reply | NotAnswered       a request, and its whole answer
    Open      → Reply | NotAnswered       the same; a 200 stays open, its lines come by
    NextLine  → bytes | None | NotAnswered    the next line of it; None: it ended as it should
    Pause     → None
    Emit      → None                      a value for whoever iterates; in streams alone
"""

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Generic, NamedTuple, TypeVar

from batchjob.client.bodies import Packed

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A request, without its token."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Packed | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it does no more when it is carried out twice."""
        return self.method == "GET" or "Idempotency-Key" in self.headers


class Reply(NamedTuple):
    """An answer; the names of its headers in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def retry_after(self) -> float | None:
        """Seconds until it is worth to ask again, where it says so: a number, or a date."""
        told = self.headers.get("retry-after", "").strip()
        if told.isascii() and told.isdecimal():
            return float(told)
        moment = _read_date(told)
        if moment is None:
            return None
        since = _read_date(self.headers.get("date", ""))  # by the server's clock, if it shows it
        return max(0.0, moment - (time.time() if since is None else since))


def _read_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


class NotAnswered(NamedTuple):
    """No answer, or half of one. `reached`: the request may have been carried out."""

    why: str
    reached: bool


class Send(NamedTuple):
    """Send a request, and read its answer."""

    request: Request


class Open(NamedTuple):
    """Send a request whose answer comes line by line; it has broken off after `silence_seconds` without any."""

    request: Request
    silence_seconds: float


class NextLine(NamedTuple):
    """The next line of what is open."""


class Pause(NamedTuple):
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Emit(Generic[T]):
    """Hand a value to whoever iterates."""

    value: T


Step = Send | Open | NextLine | Pause
Call = Generator[Step, Any, T]
Stream = Generator[Step | Emit[T], Any, None]


class Lines:
    """Bytes as they come, cut into lines: by line feeds alone, for JSON may hold what else Python takes for an end."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, part: bytes) -> list[bytes]:
        """The lines that are whole with it."""
        if b"\n" not in part:
            self._left += part
            return []
        *lines, self._left = (self._left + part).split(b"\n")
        return [line.removesuffix(b"\r") for line in lines]
