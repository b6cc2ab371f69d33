"""One run as its workers use it: claim, commit, wait, load, seal.

The heart is `exchange`: one Lua call commits what is finished, takes back the chunks of lost workers, promotes due
retries and leases the next chunks. A worker never waits for a round trip per item.
"""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from batchjob.core.items import Cancelled, Chunk, Failed, Item, Outcome, Retried, RunState, Succeeded
from batchjob.core.rates import Rate
from batchjob.errors import RunGone, StoreError
from batchjob.store import keys, scripts
from batchjob.store.connection import BLOCK_LIMIT_SECONDS, Connection, answered, call, mark_dirty
from batchjob.store.load import LoadLease
from batchjob.store.results import iterate, iterate_letters, read_parts
from batchjob.store.seal import SealLease
from batchjob.store.snapshot import DeadLetter, ItemResult

MESSAGE_LIMIT: Final = 1024  # characters kept of an error message
CACHE_BYTES: Final = 32 * 1024 * 1024  # of one owner: the store keeps items first of all, and drops none for it

_numbers = itertools.count(1)


class Standing(msgspec.Struct, frozen=True):
    """Where the run stands."""

    state: RunState
    epoch: str


class Progress(NamedTuple):
    """How far the items in hand of a chunk are, all together, and what was last said about one of them.

    `thousandths` of an item: 1500 are one that is done and one that is half done, neither of them finished. `item` is
    an id, empty where nothing was said.
    """

    thousandths: int
    item: str
    message: str


class Commit(msgspec.Struct, frozen=True):
    """News of one leased chunk: outcomes since the last commit (none: a heartbeat that renews the lease).

    `started`: how many items of the chunk, in its order, may have been started before the next exchange; a chunk is
    granted with 0, and the worker starts no item beyond what it has declared. If the lease is lost, only these count
    as lost. `returned`: positions that were not started after all; they go back as they are, neighbours as one chunk,
    and cost no loss and no attempt. `release` does so with all that is unfinished, and gives the lease up.
    `parts` (name → JSON) are written in the same step as the outcomes, and so is `durations`, a sketch of how long
    attempts took (core.durations). `progress`: None where it has not changed.
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
    progress: Progress | None = None
    returned: Sequence[int] = ()
    durations: dict[int, int] = {}
    number: int = msgspec.field(default_factory=lambda: next(_numbers))


class Grant(msgspec.Struct, frozen=True):
    """What an exchange answered. Drop `lost` before taking `chunks`: an id may be in both, under a new fence."""

    chunks: list[Chunk]  # newly leased
    state: RunState
    paused: bool
    lost: list[str]  # chunks whose fence was not current: drop them, nothing of theirs was written
    next_ms: int  # until the next delayed item is due or the next lease ends; -1: neither exists


class RunStore:
    """One run, for one worker. Errors: StoreUnavailable, StoreNotReady, RunGone."""

    def __init__(self, connection: Connection, uid: str, worker: str) -> None:
        self.uid = uid
        self.worker = worker
        self._connection = connection

    async def state(self) -> Standing:
        """Where the run stands."""
        meta = keys.run_key(self.uid, "meta")
        epoch, state = await self._connection.command("HMGET", meta, "epoch", "state")
        if epoch is None:
            raise RunGone(f"the store does not know run {self.uid}: it was deleted, or the store was emptied")
        return Standing(RunState(state.decode()), epoch.decode())

    async def claim_load(self) -> LoadLease | None:
        """The right to load the source; None if another worker holds it, or the run is not loading.

        Taking over from a loader whose lease ended discards what it had loaded: begin at position 0. Only of a run that
        was opened `early` it stays: `LoadLease.reached` says how far that is.
        """
        return await LoadLease.claim(self._connection, self.uid, self.worker)

    async def claim_seal(self) -> SealLease | None:
        """The right to seal results; None if another worker holds it, or there is nothing to seal.

        While the run is open there is only where its results go to a destination.
        """
        return await SealLease.claim(self._connection, self.uid, self.worker)

    async def exchange(self, commits: Sequence[Commit], want: int, concurrency: int = 1) -> Grant:
        """Commit, and lease chunks of up to `want` items together (0: none).

        `concurrency`: items this worker can run at once. Near the end of a run a grant shrinks so that the last items
        spread over the workers, to a multiple of this number.
        """
        packed = msgspec.msgpack.encode([_pack(commit) for commit in commits])
        exchange = call(scripts.EXCHANGE, self.uid, self.worker, want, concurrency, packed)
        marked = any(_tells(commit) for commit in commits)
        answers = await self._connection.commands([exchange, mark_dirty(self.uid)] if marked else [exchange])
        state, paused, next_ms, changed, lost, granted = answered(answers[0])
        if changed and not marked:
            with suppress(StoreError):  # a hint must not cost us the grant
                await self._connection.command(*mark_dirty(self.uid))
        return Grant(
            chunks=[_unpack(*chunk) for chunk in granted],
            state=RunState(state.decode()),
            paused=bool(paused),
            lost=[chunk.decode() for chunk in lost],
            next_ms=next_ms,
        )

    async def wait(self, ms: int) -> None:
        """Wait until there may be something to claim or the state changed, at most `ms` (-1: no limit) and 5 s."""
        seconds = BLOCK_LIMIT_SECONDS if ms < 0 else min(ms / 1000, BLOCK_LIMIT_SECONDS)
        if seconds > 0:  # BLPOP takes 0 as for ever
            await self._connection.command("BLPOP", keys.run_key(self.uid, "wake"), max(seconds, 0.001))

    def results(self) -> AsyncIterator[ItemResult]:
        """Results in the order of positions; items without a result are left out."""
        return iterate(self._connection, self.uid)

    def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """Dead letters in the order of positions, once nothing of the run changes any more."""
        return iterate_letters(self._connection, self.uid)

    async def parts(self) -> dict[str, bytes]:
        """What commits wrote as `parts`: name → JSON."""
        return await read_parts(self._connection, self.uid, "parts")

    async def origin(self) -> tuple[str, str]:
        """The source's SHA-256, by which its positions are known again, and those whose results a lost store took.

        The latter as ranges. Both may be empty.
        """
        meta = keys.run_key(self.uid, "meta")
        sha256, missing = await self._connection.command("HMGET", meta, "source_sha256", "missing_positions")
        return (sha256 or b"").decode(), (missing or b"").decode()

    async def sealed(self) -> dict[str, bytes]:
        """Parts of results that are at the destination: name → JSON."""
        return await read_parts(self._connection, self.uid, "sealed")

    async def ledger_mark(self, position: int, chunk: str, fence: int, note: bytes) -> None:
        """Note something about an item apart from its outcome, such as "this mail is being sent"; gone with its end.

        Raises LeaseLost where the chunk is in other hands.
        """
        await self._connection.command(*call(scripts.LEDGER, self.uid, position, chunk, fence, note))

    async def ledger_get(self, position: int) -> bytes | None:
        """The note of an item."""
        note: bytes | None = await self._connection.command("HGET", keys.run_key(self.uid, "ledger"), position)
        return note

    async def ledger_clear(self, position: int, chunk: str, fence: int) -> None:
        """Forget the note of an item. Raises LeaseLost where the chunk is in other hands."""
        await self._connection.command(*call(scripts.LEDGER, self.uid, position, chunk, fence))

    async def take_rate(self, name: str, rate: Rate, weight: int, horizon_seconds: float) -> tuple[bool, float]:
        """Take `weight` units of the rate of that name, if that is due within the horizon.

        Returns whether they are taken, and the seconds to wait: until they may be used, else until it is worth
        asking again.
        """
        arguments = (rate.interval_us, rate.burst, weight, round(horizon_seconds * 1_000_000))
        command = ("EVALSHA", scripts.RATE_TAKE.sha, 1, keys.rate_key(name), *arguments)
        taken, wait_us = await self._connection.command(*command)
        return taken == 1, wait_us / 1_000_000

    async def hold_rate(self, name: str, seconds: float) -> None:
        """Nobody takes of this rate for so long."""
        command = ("EVALSHA", scripts.RATE_HOLD.sha, 1, keys.rate_key(name), round(seconds * 1_000_000))
        await self._connection.command(*command)

    async def cache_get(self, owner: str, key: str) -> bytes | None:
        """A value of the cache of that name; None where there is none, or its time is over."""
        entries, due, _ = keys.cache_keys(owner)
        value: bytes | None = await self._connection.command("EVALSHA", scripts.CACHE_GET.sha, 2, entries, due, key)
        return value

    async def cache_put(self, owner: str, key: str, value: bytes, ms: int) -> None:
        """Keep a value so long, at most: where the cache is full, those go that would have gone soonest."""
        command = ("EVALSHA", scripts.CACHE_PUT.sha, 3, *keys.cache_keys(owner))
        await self._connection.command(*command, key, value, ms, CACHE_BYTES)

    async def note(self, name: str, value: bytes) -> bytes:
        """Agree on a value for the whole run: the first writer's is in force and is returned to all."""
        in_force: bytes = await self._connection.command(*call(scripts.NOTE, self.uid, name, value))
        return in_force


def _tells(commit: Commit) -> bool:
    """Whether it is more than a heartbeat."""
    return bool(commit.outcomes or commit.returned or commit.release or commit.usage or commit.progress)


def _pack(commit: Commit) -> list[Any]:
    """A commit as exchange.lua reads it: successes without a result, the common case on the hot path, as bare ints."""
    succeeded: list[int] = []
    results: list[int | str] = []
    others: list[list[Any]] = []
    for outcome in commit.outcomes:
        match outcome:
            case Succeeded(result=None):
                succeeded.append(outcome.position)
            case Succeeded(result=bytes() as result):
                results += (outcome.position, result.decode())
            case Retried(position, error_class, message, delay_ms, counts):
                others.append(["retried", position, error_class, message[:MESSAGE_LIMIT], delay_ms, counts])
            case Failed(position, error_class, message):
                others.append(["failed", position, error_class, message[:MESSAGE_LIMIT]])
            case Cancelled(position):
                others.append(["cancelled", position])
    head = [commit.chunk, commit.fence, commit.number, commit.started, commit.release]
    parts = {name: part.decode() for name, part in commit.parts.items()}
    told = commit.progress
    news = [] if told is None else [[told.thousandths, told.item, told.message]]
    return [*head, succeeded, results, others, sorted(commit.returned), commit.usage, parts, commit.durations, *news]


def _unpack(chunk: bytes, fence: int, payload: bytes | list[bytes], attempts: int, losses: int) -> Chunk:
    """A granted chunk; its items come packed where the chunk is a whole field."""
    flat: list[Any] = msgspec.msgpack.decode(payload) if isinstance(payload, bytes) else payload
    first = int(chunk[chunk.index(b"/") + 1 : chunk.rindex(b"-")])
    decode, attempt = msgspec.json.decode, attempts + 1
    items = [
        Item(position, item_id if isinstance(item_id, str) else item_id.decode(), decode(data), attempt, losses)
        for position, item_id, data in zip(itertools.count(first), flat[::2], flat[1::2], strict=False)
    ]
    return Chunk(chunk.decode(), fence, tuple(items))
