"""All runs as the operator sees them: open, grant, read, pause, cancel, delete."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

import structlog

from batchjob.api.figures import FIGURES_NOTE, Figures
from batchjob.api.run import StoreAccess
from batchjob.core.events import BEGINNING, RunEvent
from batchjob.core.items import LEASE_MS, Before, RunRules, RunState
from batchjob.core.ranges import Pair, Ranges
from batchjob.core.records import Tally, read_tally
from batchjob.core.snapshot import Snapshot
from batchjob.errors import ConfigurationError
from batchjob.store import keys, scripts
from batchjob.store.access import user_rules
from batchjob.store.audit import AuditTrail
from batchjob.store.caches import Caches
from batchjob.store.connection import BLOCK_LIMIT_SECONDS, Connection, answered, call, load
from batchjob.store.events import read_events
from batchjob.store.history import History
from batchjob.store.index import Index
from batchjob.store.live import LiveStore
from batchjob.store.results import iterate, read_letters
from batchjob.store.run import RunStore
from batchjob.store.signs import read_signs
from batchjob.store.snapshot import DeadLetter, ItemResult, read_snapshot

OLDEST_SERVER: Final = (7, 0)  # ACL key permissions by read and write
ABANDON_BATCH: Final = 2000  # items a call: some milliseconds, in which nobody else is served
CHANGED_BATCH: Final = 1000  # runs a call
UNLINK_BATCH: Final = 1000  # keys a call

log = structlog.get_logger(__name__)


class Store:
    """The store. Errors of every call: StoreUnavailable, StoreNotReady; RunGone where the run is unknown."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.audit = AuditTrail(connection)
        self.caches = Caches(connection)
        self.history = History(connection)
        self.index = Index(connection)
        self.live = LiveStore(connection)

    @classmethod
    def connect(
        cls,
        access: StoreAccess,
        *,
        name: str,
        reread: Callable[[], StoreAccess] | None = None,
        may_ask: Callable[[], bool] | None = None,
    ) -> Self:
        """A store at `access`, connected with the first call; `name` shows in CLIENT LIST.

        `reread`: asked for user and password at each new connection, since both may change. `may_ask`: whether what is
        called for may be sent; see `Connection`.
        """
        return cls(Connection(access, name, reread, may_ask))

    async def close(self) -> None:
        """Close every connection."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def run(self, uid: str, worker: str) -> RunStore:
        """One run, for one worker."""
        return RunStore(self._connection, uid, worker)

    async def check(self) -> None:
        """Ask whether this server can hold runs: ConfigurationError if not; warns if it forgets at a restart."""
        for [info] in await self._connection.everywhere(("INFO",)):
            _check_server(_read_info(info))

    async def memory(self) -> tuple[int, int]:
        """Bytes that the fullest server uses, and above which it refuses writes (0: nothing is set).

        A run is on one server of a cluster with all that it has: what others have left is of no use to it.
        """
        found = [_read_info(info) for [info] in await self._connection.everywhere(("INFO", "memory"))]
        servers = [(int(info["used_memory"]), int(info["maxmemory"])) for info in found]
        return max(servers, key=lambda server: server[0] / server[1] if server[1] else 0)

    async def now(self) -> datetime:
        """What time it is for the store; of several servers, for the one that is furthest behind."""
        answers = await self._connection.everywhere(("TIME",))
        return datetime.fromtimestamp(min(int(seconds) for [(seconds, _)] in answers), UTC)

    async def load_scripts(self) -> None:
        """Give the server our scripts; idempotent."""
        await self._connection.everywhere(*map(load, scripts.ALL))

    async def open_run(
        self,
        uid: str,
        *,
        epoch: str,
        max_losses: int,
        created_for: str,
        lease_ms: int = LEASE_MS,
        before: Before = Before(),  # noqa: B008 - frozen
        rules: RunRules = RunRules(),  # noqa: B008 - frozen
    ) -> str:
        """Create the run if it does not exist; returns the epoch in force, another one than given if it did.

        It is loaded whole first (see `RunRules.early`) where some of it was done before: only the whole source tells
        whether those are still the same items.
        """
        known = (before.done, len(Ranges(before.done)), before.cancelled, before.repeats, before.sha256)
        bound = int(rules.have_destination), rules.limit_bytes
        created = (epoch, max_losses, lease_ms, created_for, *known, int(rules.early and not before.done), *bound)
        in_force: bytes = await self._call(scripts.OPEN_RUN, keys.checked_uid(uid), *created)
        return in_force.decode()

    async def grant(
        self,
        uid: str,
        password: str,
        *,
        reads: str | None = None,
        rates: Iterable[str] = (),
        cache: str | None = None,
    ) -> None:
        """Make the user `bj-<uid>`, who may use this run, these rates and this cache, and read the run `reads`.

        Loads the scripts too, since that user may not. Idempotent; to be repeated after a restart of the server.
        """
        user = ("ACL", "SETUSER", keys.user_name(uid), *user_rules(uid, password, reads, rates, cache))
        await self._connection.everywhere(*map(load, scripts.ALL), user)

    async def revoke(self, uid: str) -> None:
        """Remove the user of a run; its connections close."""
        await self._connection.everywhere(("ACL", "DELUSER", keys.user_name(uid)))

    async def user_names(self) -> set[str]:
        """UIDs of the runs that have a user."""
        answers = await self._connection.everywhere(("ACL", "USERS"))
        # One that a single server lacks is to be made again.
        common = set[bytes].intersection(*(set(users) for [users] in answers))
        users = [user.decode() for user in common]
        return {user.removeprefix(keys.USER_PREFIX) for user in users if user.startswith(keys.USER_PREFIX)}

    async def snapshot(self, uid: str) -> Snapshot | None:
        """The run at this moment; None if the store does not know it."""
        reply = await self._call(scripts.SNAPSHOT, uid)
        return None if reply is None else read_snapshot(reply)

    async def finished(self, uid: str) -> list[Pair] | None:
        """Ranges of positions that are done for good, ascending: not open, and no dead letters.

        None where that cannot be said: not loaded yet, broken off, or more open than can be looked through in a moment.
        """
        flat = await self._call(scripts.FINISHED, uid)
        return None if flat is None else list(zip(flat[::2], flat[1::2], strict=True))

    async def tally(self, uid: str) -> Tally:
        """What was counted of a run beside its counters; empty where the store does not know it."""
        flat = [text.decode(errors="replace") for text in await self._call(scripts.TALLY, uid)]
        return read_tally(dict(zip(flat[::2], flat[1::2], strict=True)))

    async def put_figures(self, uid: str, figures: Figures) -> None:
        """Give a report its figures; those that it was given first stay."""
        await self._call(scripts.NOTE, uid, FIGURES_NOTE, figures.model_dump_json(by_alias=True))

    async def pause(self, uid: str) -> None:
        """Grant nothing more until `resume`; workers are told with each exchange."""
        await self._call(scripts.PAUSE, uid, 1)

    async def resume(self, uid: str, token: str | None = None) -> None:
        """Grant again. A run whose circuit breaker tripped needs a `token`; its window is emptied then."""
        await self._call(scripts.PAUSE, uid, 0, token or "")

    async def set_breaker(self, uid: str, breaker: str) -> None:
        """Trip where too many items fail or a budget is used up, as `core.breaker` writes it; empty: never."""
        await self._call(scripts.BREAKER, uid, breaker)

    async def cancel(self, uid: str) -> None:
        """End the run: every item that is not terminal becomes cancelled, and later commits of it are refused.

        Does nothing to a run that has ended.
        """
        await self._call(scripts.CONCLUDE, uid, RunState.CANCELLED, "", "")

    async def abandon(self, uid: str, message: str) -> None:
        """Dead-letter every item that is not terminal as `infrastructure`, and close the run (reason WorkersFailed).

        A run that was not loaded yet ends as failed: what it accepted is only a part of its source, and is cancelled.
        Nobody begins to seal an abandoned run: results that are in no part by then stay in the store. Does nothing to
        a run that has ended.
        """
        while await self._call(scripts.ABANDON, uid, ABANDON_BATCH, message):
            pass

    async def fail(self, uid: str, reason: str, message: str) -> None:
        """End the run as failed; items that are not terminal become cancelled. Nothing to a run that has ended."""
        await self._call(scripts.CONCLUDE, uid, RunState.FAILED, reason, message)

    async def delete_run(self, uid: str, strays: Iterable[bytes] = ()) -> None:
        """Remove every key of the run, and `strays` that `runs` found; idempotent."""
        others = list(strays)
        pages = [others[first : first + UNLINK_BATCH] for first in range(0, len(others), UNLINK_BATCH)]
        unlinks = [("UNLINK", *page) for page in (keys.run_keys(uid), *pages)]
        for answer in await self._connection.commands([*unlinks, ("ZREM", keys.DIRTY, uid)]):
            answered(answer)

    async def runs(self) -> dict[str, set[bytes]]:
        """Every run that has a key, by uid, with its keys; walks the key space, so for a periodic sweep.

        A run's user may have made keys of names that are none of ours. Caches are met on the way, and lose what all of
        them together have too much.
        """
        found, others = defaultdict[str, set[bytes]](set), list[bytes]()
        async for key in self._connection.scan(keys.EVERY):
            if keys.is_of_run(key):
                found[keys.uid_of(key)].add(key)
            elif keys.cache_of(key):
                others.append(key)
        await self.caches.bound(others)
        return found

    async def changed(self, timeout_s: float) -> list[str]:
        """UIDs of runs that changed since the last call, oldest first; waits up to `timeout_s` (at most 5) for one.

        A call that fails may have taken some that nobody will hear of again: look at every run then.
        """
        seconds = min(max(timeout_s, 0.001), BLOCK_LIMIT_SECONDS)  # BZPOPMIN takes 0 as for ever
        first = await self._connection.once("BZPOPMIN", keys.DIRTY, seconds)
        if first is None:
            return []
        rest = await self._connection.once("ZPOPMIN", keys.DIRTY, CHANGED_BATCH)
        # Any tenant may add to this set, so it may hold anything.
        return [uid.decode(errors="replace") for uid in (first[1], *rest[::2])]

    async def created_for(self, uid: str) -> str | None:
        """The `namespace/name` for which a run was opened; None where the store does not know the run."""
        found = await self._connection.command("HGET", keys.run_key(uid, "meta"), "created_for")
        return None if found is None else found.decode()

    async def signs(self, uids: Sequence[str]) -> dict[str, float]:
        """Of some runs: worker → when it was last heard, seconds since 1970; none of those that hold nothing."""
        return await read_signs(self._connection, uids)

    async def dead_letters(self, uid: str, limit: int, cursor: int = 0) -> list[DeadLetter]:
        """Dead letters in the order of positions, from position `cursor` on; go on at the last position + 1."""
        return await read_letters(self._connection, uid, limit, cursor)

    async def events(self, uid: str, after: str = BEGINNING, wait_seconds: float = 0.0) -> list[RunEvent]:
        """Events of a run after the one with the id `after`, oldest first; waits for one, at most so long and 5 s."""
        return await read_events(self._connection, uid, after, wait_seconds)

    def results(self, uid: str, first: int = 0, end: int | None = None) -> AsyncIterator[ItemResult]:
        """Results of a run in the order of positions from `first` to before `end`; items without one are left out.

        Reads with plain commands: the user of a run that was granted `reads=uid` can do it too.
        """
        return iterate(self._connection, uid, first, end)

    async def count(self, name: str, seconds: int) -> tuple[int, float]:
        """Count one more in the window `name`, which its first one began: how many there are, and the seconds left.

        Asked again where its answer was lost, it counts one too many.
        """
        key = keys.limit_key(name)
        batch = [("INCR", key), ("EXPIRE", key, seconds, "NX"), ("PTTL", key)]
        number, _, left_ms = map(answered, await self._connection.commands(batch))
        return int(number), max(0.0, left_ms / 1000)

    async def _call(self, script: scripts.Script, uid: str, *arguments: Any) -> Any:
        return await self._connection.command(*call(script, uid, *arguments))


def _read_info(info: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)


def _check_server(info: dict[str, str]) -> None:
    version = tuple(int(part) for part in info["redis_version"].split(".")[:2])
    if version < OLDEST_SERVER:
        raise ConfigurationError(f"the store is Redis {info['redis_version']}; 7.0 or newer is needed")
    if info["maxmemory_policy"] != "noeviction":
        raise ConfigurationError(
            f"the store's maxmemory-policy is {info['maxmemory_policy']}, which would drop items when memory is "
            "short; set it to noeviction"
        )
    if info["aof_enabled"] == "0":
        log.warning("the store has no append-only file: a restart loses what happened since its last snapshot")
