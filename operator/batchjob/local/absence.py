"""A store that does not do what it should: in words that say what to do, and said once, not every two seconds."""

from collections.abc import Callable
from typing import Final

from batchjob.core.progress import format_duration
from batchjob.errors import ScriptsUnknown, StoreError, StoreFull, StoreNotReady, StoreUnavailable

TELL_SECONDS: Final = 60.0  # between two words about a store that stays away


def in_words(error: StoreError) -> str:
    """What happened, and what the owner of the store may do."""
    said = str(error).rstrip(".")
    if isinstance(error, StoreFull):
        return "the store is full: raise its maxmemory, or delete what else it holds"
    if isinstance(error, StoreNotReady) and not isinstance(error, ScriptsUnknown):
        said = said.partition(": ")[2]
        return f"the login is missing, wrong or lacks rights ({said}): write redis://user:password@host:port"
    if isinstance(error, StoreUnavailable):
        return f"{said}: see that a Redis or Valkey runs there"
    return said


class Absence:
    """Tells of a store that is away: at once, then how long it has been."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._since: float | None = None
        self._told = 0.0

    def tell(self, error: StoreError, now: float) -> None:
        """It is away; `now` in seconds on any clock that does not stop."""
        if self._since is None:
            self._since = self._told = now
            self._say(
                f"{self._name}: waiting for the store, until it is back: {in_words(error)} (Ctrl-C: give the run up, "
                "and nothing of it is kept)"
            )
        elif now - self._told >= TELL_SECONDS:
            self._told = now
            self._say(f"{self._name}: waiting for the store, for {format_duration(now - self._since)} now")

    def end(self) -> None:
        """It is back."""
        self._since = None
