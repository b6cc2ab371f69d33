"""A duty: work that one worker does for all, under a lease with a token of its own. `load` and `seal` are the two."""

from typing import Any, Self

from batchjob.store import scripts
from batchjob.store.connection import Connection, call


class Duty:
    """A lease on a duty, for `lease_ms` after each call. Errors: LeaseLost when another worker took over."""

    kind: str

    def __init__(self, connection: Connection, uid: str, token: int) -> None:
        self._connection = connection
        self._uid = uid
        self._token = token

    @classmethod
    async def claim(cls, connection: Connection, uid: str, worker: str) -> Self | None:
        """The duty, or None if another worker holds it or there is nothing to do."""
        token = await connection.command(*call(scripts.DUTY_CLAIM, uid, cls.kind, worker))
        return None if token is None else cls(connection, uid, token)

    async def renew(self) -> None:
        """Keep the lease while the work is slow."""
        await self._connection.command(*call(scripts.DUTY_KEEP, self._uid, self.kind, self._token))  # nothing to tell

    async def fail(self, reason: str, message: str) -> None:
        """It cannot be done: the run ends as failed, unless it has ended already."""
        await self._call(scripts.DUTY_FAIL, self.kind, self._token, reason, message)

    async def release(self) -> None:
        """Give the lease back, if it is still ours: another worker may begin at once, from the beginning."""
        await self._call(scripts.DUTY_RELEASE, self.kind, self._token)

    async def _call(self, script: scripts.Script, *arguments: Any) -> None:
        await self._connection.call_and_mark(self._uid, script, *arguments)
