"""One run as its workers use it: claim, commit, wait, load, seal.

The heart is `exchange`: one Lua call commits what is finished, returns the chunks of lost workers, promotes due
retries and leases the next chunks. A worker never waits for a round trip per item.
"""

import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from batchjob.core.items import Chunk, Outcome, RunState
from batchjob.store.load import LoadLease
from batchjob.store.seal import SealLease
from batchjob.store.snapshot import ItemResult

_numbers = itertools.count(1)


class Standing(msgspec.Struct, frozen=True):
    """Where the run stands; `total` is None until the source is loaded."""

    state: RunState
    paused: bool
    total: int | None
    epoch: str


class Commit(msgspec.Struct, frozen=True):
    """News of one leased chunk: outcomes since the last commit (none: a heartbeat that renews the lease).

    `started`: how many items of the chunk, in its order, may have been started before the next exchange; a chunk is
    granted with 0, and the worker starts no item beyond what it has declared. If the lease is lost, only these count
    as lost. `release` gives the unfinished items back: no loss, no attempt.
    `parts` (name → JSON) are written in the same step as the outcomes.
    `number` makes a commit that is sent twice count once; leave it alone, and send the same object again after
    StoreUnavailable.
    """

    chunk: str
    fence: int
    outcomes: Sequence[Outcome] = ()
    usage: dict[str, int] = {}
    release: bool = False
    started: int = 0
    parts: dict[str, bytes] = {}
    number: int = msgspec.field(default_factory=lambda: next(_numbers))


class Grant(msgspec.Struct, frozen=True):
    """What an exchange answered."""

    chunks: list[Chunk]  # newly leased
    state: RunState
    paused: bool
    lost: list[str]  # chunks whose fence was not current: drop them, nothing of theirs was written
    next_ms: int  # until the next delayed item is due or the next lease ends; -1: neither exists
    finished: bool  # every item is terminal


class RunStore:
    """One run, for one worker. Errors: StoreUnavailable, StoreNotReady, RunGone."""

    async def state(self) -> Standing:
        """Where the run stands."""
        raise NotImplementedError

    async def claim_load(self) -> LoadLease | None:
        """The right to load the source; None if another worker holds it, or the run is not loading.

        Taking over from a loader whose lease ended discards what it had loaded: begin at position 0.
        """
        raise NotImplementedError

    async def exchange(self, commits: Sequence[Commit], want: int, concurrency: int = 1) -> Grant:
        """Commit, and lease chunks of up to `want` items together (0: none).

        `concurrency`: items this worker can run at once. Near the end of a run a grant shrinks so that the last items
        spread over the workers, but not below this number.
        """
        raise NotImplementedError

    async def wait(self, ms: int) -> None:
        """Wait until there may be something to claim or the state changed, at most `ms` (-1: no limit) and 5 s."""
        raise NotImplementedError

    async def claim_seal(self) -> SealLease | None:
        """The right to finish the results; None if another worker holds it, or the run is not sealing."""
        raise NotImplementedError

    def results(self) -> AsyncIterator[ItemResult]:
        """Results in the order of positions; items without a result are left out."""
        raise NotImplementedError

    async def parts(self) -> dict[str, bytes]:
        """What commits wrote as `parts`: name → JSON."""
        raise NotImplementedError

    async def ledger_mark(self, position: int, note: bytes) -> None:
        """Note something about an item apart from its outcome, such as "this mail is being sent"."""
        raise NotImplementedError

    async def ledger_get(self, position: int) -> bytes | None:
        """The note of an item."""
        raise NotImplementedError

    async def ledger_clear(self, position: int) -> None:
        """Forget the note of an item."""
        raise NotImplementedError

    def __init__(self, connection: Any, uid: str, worker: str) -> None:
        self.uid = uid
        self.worker = worker
        self._connection = connection
