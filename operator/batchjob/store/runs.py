"""All runs as the operator sees them: open, grant, read, pause, cancel, delete."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Self

from batchjob.api.run import StoreAccess
from batchjob.store.run import RunStore
from batchjob.store.snapshot import DeadLetter, ItemResult, Snapshot


class Store:
    """The store. Errors of every call: StoreUnavailable, StoreNotReady; RunGone where the run is unknown."""

    @classmethod
    def connect(cls, access: StoreAccess, *, name: str) -> Self:
        """A store at `access`; `name` shows in CLIENT LIST. Connects with the first call; close it, or use `async with`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def run(self, uid: str, worker: str) -> RunStore:
        """One run, for one worker."""
        raise NotImplementedError

    async def check(self) -> None:
        """Ask whether this server can hold runs: ConfigurationError if not; warns if it forgets at a restart."""
        raise NotImplementedError

    async def load_scripts(self) -> None:
        """Give the server our scripts; idempotent."""
        raise NotImplementedError

    async def open_run(self, uid: str, *, epoch: str, max_losses: int, created_for: str, lease_ms: int = 10_000) -> str:
        """Create the run if it does not exist; returns the epoch in force, another one than given if it did."""
        raise NotImplementedError

    async def grant(self, uid: str, password: str, *, reads: str | None = None) -> None:
        """Make the user `bj-<uid>`, who may use this run alone and read the results of the run `reads`.

        Loads the scripts too, since that user may not. Idempotent; to be repeated after a restart of the server.
        """
        raise NotImplementedError

    async def revoke(self, uid: str) -> None:
        """Remove the user of a run; its connections close."""
        raise NotImplementedError

    async def user_names(self) -> set[str]:
        """UIDs of the runs that have a user."""
        raise NotImplementedError

    async def snapshot(self, uid: str) -> Snapshot | None:
        """The run at this moment; None if the store does not know it."""
        raise NotImplementedError

    async def snapshots(self, uids: Iterable[str]) -> dict[str, Snapshot | None]:
        """Many runs in one round trip; each snapshot is consistent in itself."""
        raise NotImplementedError

    async def pause(self, uid: str) -> None:
        """Grant nothing more until `resume`; workers are told with each exchange."""
        raise NotImplementedError

    async def resume(self, uid: str) -> None:
        """Grant again."""
        raise NotImplementedError

    async def cancel(self, uid: str) -> None:
        """End the run: every item that is not terminal becomes cancelled, and later commits of it are refused.

        Does nothing to a run that has ended.
        """
        raise NotImplementedError

    async def abandon(self, uid: str, message: str) -> None:
        """Dead-letter every item that is not terminal as `infrastructure`, and close the run (reason WorkersFailed).

        A run that was not loaded yet has no items to give up: it ends as failed. Nothing seals an abandoned run:
        results so far stay in the store. Does nothing to a run that has ended.
        """
        raise NotImplementedError

    async def fail(self, uid: str, reason: str, message: str) -> None:
        """End the run as failed; items that are not terminal become cancelled. Nothing to a run that has ended."""
        raise NotImplementedError

    async def delete_run(self, uid: str) -> None:
        """Remove every key of the run; idempotent."""
        raise NotImplementedError

    async def runs(self) -> set[str]:
        """UIDs of every run that has a key; walks the key space, so for a periodic sweep."""
        raise NotImplementedError

    async def changed(self, timeout_s: float) -> list[str]:
        """UIDs of runs that changed since the last call, oldest first; waits up to `timeout_s` (at most 5) for one."""
        raise NotImplementedError

    async def dead_letters(self, uid: str, limit: int, cursor: int = 0) -> list[DeadLetter]:
        """Dead letters in the order of positions, from position `cursor` on; go on at the last position + 1."""
        raise NotImplementedError

    def results(self, uid: str) -> AsyncIterator[ItemResult]:
        """Results of a run in the order of positions; items without a result are left out.

        Reads with plain commands: the user of a run that was granted `reads=uid` can do it too.
        """
        raise NotImplementedError

    def __init__(self, connection: Any) -> None:
        self._connection = connection
