"""The connection to Redis: time limits on every call, scripts by SHA, errors translated.

A lost connection is tried again a few times at once: every call here may be repeated, since scripts recognise what
they have seen before. What stays down longer is the caller's to wait for.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.credentials import CredentialProvider

from batchjob.api.run import StoreAccess
from batchjob.errors import (
    ConfigurationError,
    LeaseLost,
    RunGone,
    ScriptsUnknown,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreNotReady,
    StoreUnavailable,
)
from batchjob.store import keys
from batchjob.store.scripts import Script
from batchjob.store.servers import Client, close_client, open_client

T = TypeVar("T")

CALL_TIMEOUT_SECONDS: Final = 8.0  # below a lease, so that a worker learns of a dead server in time
BLOCK_LIMIT_SECONDS: Final = 5.0  # longest blocking read: well below the time limit of a call
SCAN_COUNT: Final = 1000  # keys a call
RETRIES: Final = 3  # within a second or so: enough for a dropped connection, not for a restart

# What the scripts and the server say, by the first word of the message.
_BY_CODE: Final[dict[str, type[Exception]]] = {
    "RUNGONE": RunGone,
    "LEASELOST": LeaseLost,
    "NEWERSCHEMA": ConfigurationError,
    "INCOMPLETE": StoreError,
    "DAMAGED": StoreDamaged,
    "WRONGTYPE": StoreDamaged,
}
_NOT_READY: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)
_NOT_READY_CODES: Final = ("NOAUTH", "WRONGPASS", "NOPERM")
_UNAVAILABLE: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    OSError,
)
_UNAVAILABLE_CODES: Final = ("BUSY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")


def translate(error: Exception) -> Exception:
    """The error of ours that a library's error means."""
    text = str(error)
    code, _, rest = text.partition(" ")
    if isinstance(error, exceptions.ResponseError) and code in _BY_CODE:
        return _BY_CODE[code](rest.partition(" script: ")[0])
    if isinstance(error, exceptions.NoScriptError) or code == "NOSCRIPT":
        return ScriptsUnknown(f"the store does not know our scripts: {text}")
    if isinstance(error, _NOT_READY) or code in _NOT_READY_CODES:
        return StoreNotReady(f"the store has not been prepared for this user: {text}")
    if isinstance(error, exceptions.OutOfMemoryError):
        return StoreFull(f"the store is full: {text}")
    if isinstance(error, _UNAVAILABLE) or code in _UNAVAILABLE_CODES:
        return StoreUnavailable(f"the store does not answer: {text}")
    return StoreError(f"the store refused: {text}")


@contextmanager
def translated() -> Iterator[None]:
    """Turns the library's errors into ours."""
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise translate(error) from error


class Credentials(CredentialProvider):
    """The user and password of each new connection: a Secret that was changed reaches a pod that runs."""

    def __init__(self, access: StoreAccess, reread: Callable[[], StoreAccess]) -> None:
        self._access = access
        self._reread = reread

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What is to be said now; what was said before, while the new cannot be read."""
        with suppress(ConfigurationError):
            self._access = self._reread()
        password = self._access.password or ""
        return (self._access.username, password) if self._access.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: a small file needs no thread."""
        return self.get_credentials()


class Connection:
    """A pool of connections as one user. `reread` tells its credentials again, for each new connection."""

    def __init__(self, access: StoreAccess, name: str, reread: Callable[[], StoreAccess] | None = None) -> None:
        if "@" in access.url and access.password:
            raise ConfigurationError("the store's URL holds a user or password beside the configured one: leave it out")
        self.client: Client = open_client(
            access.url,
            credential_provider=Credentials(access, reread or (lambda: access)) if access.password else None,
            client_name=name,
            driver_info=None,  # CLIENT SETINFO is unknown to 7.0, and no run's user needs it
            protocol=2,  # one AUTH instead of HELLO: any server and any ACL user can do it
            socket_timeout=CALL_TIMEOUT_SECONDS,
            socket_connect_timeout=CALL_TIMEOUT_SECONDS,
            retry=Retry(
                ExponentialWithJitterBackoff(base=0.05, cap=0.5),
                RETRIES,
                # A call that ran into its time limit has waited long enough.
                supported_errors=(exceptions.ConnectionError,),
            ),
        )

    async def close(self) -> None:
        """Close every connection."""
        await close_client(self.client)

    async def command(self, *arguments: Any) -> Any:
        """One plain command."""
        with translated():
            return await _cancellable(self.client.execute_command(*arguments))

    async def commands(self, batch: Sequence[Sequence[Any]]) -> list[Any]:
        """Several commands in one round trip, not in one step; an error of one is its answer, translated."""
        pipeline = self.client.pipeline(transaction=False)
        for arguments in batch:
            pipeline.execute_command(*arguments)
        with translated():
            answers = await _cancellable(pipeline.execute(raise_on_error=False))
        return [translate(answer) if isinstance(answer, Exception) else answer for answer in answers]

    async def call_and_mark(self, uid: str, script: Script, *arguments: Any) -> Any:
        """Run a script on a run and tell the operator that it changed, in one round trip."""
        answer, _ = await self.commands([call(script, uid, *arguments), mark_dirty(uid)])
        return answered(answer)

    async def everywhere(self, *arguments: Any) -> list[Any]:
        """One command on every server: users and scripts are not shared in a cluster. Returns an answer of each."""
        if isinstance(self.client, Redis):
            return [await self.command(*arguments)]
        with translated():
            await self.client.initialize()  # it learns its servers then
            servers = self.client.get_nodes()
            answers = await _cancellable(self.client.execute_command(*arguments, target_nodes=servers))
            return list(answers.values())

    async def load(self, scripts: Sequence[Script]) -> None:
        """Give every server scripts; idempotent."""
        loads = [("SCRIPT", "LOAD", script.source) for script in scripts]
        if isinstance(self.client, Redis):  # in one round trip, which a cluster's pipeline cannot do
            for answer in await self.commands(loads):
                answered(answer)
            return
        for load in loads:
            await self.everywhere(*load)

    async def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """Every key of that pattern, in no order; some may come twice."""
        with translated():
            async for key in self.client.scan_iter(match=pattern, count=SCAN_COUNT):
                yield key


async def _cancellable(call: Awaitable[T]) -> T:
    """The answer of a call, unless the task was cancelled meanwhile.

    redis-py uses `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes together with the
    answer: a worker that was asked to go would then stay.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    answer = await call
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


def answered(answer: Any) -> Any:
    """An answer of `Connection.commands`, raised if it is an error."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def call(script: Script, uid: str, *arguments: Any) -> tuple[Any, ...]:
    """The command that runs a script on a run: all keys of the run, then the arguments."""
    return ("EVALSHA", script.sha, len(keys.NAMES), *keys.run_keys(uid), *arguments)


def mark_dirty(uid: str) -> tuple[Any, ...]:
    """The command that tells the operator of a change; the time only orders the runs that wait to be read."""
    return ("ZADD", keys.DIRTY, "NX", time.time_ns() // 1_000_000, uid)
