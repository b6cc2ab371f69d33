"""The connection to Redis: time limits on every call, scripts by SHA, errors translated.

A lost connection is tried again a few times at once: every call here may be repeated, since scripts recognise what
they have seen before. What stays down longer is the caller's to wait for.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import hiredis

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
from batchjob.store.wire import Command, Endpoint, Wire

CALL_TIMEOUT_SECONDS: Final = 8.0  # below a lease, so that a worker learns of a dead server in time
BLOCK_LIMIT_SECONDS: Final = 5.0  # longest blocking read: well below the time limit of a call
RETRY_SECONDS: Final = (0.05, 0.1, 0.2)  # waits, jittered: enough for a dropped connection, not for a restart

# What the scripts and the server say, by the first word of the message.
_BY_CODE: Final[dict[str, type[Exception]]] = {
    "RUNGONE": RunGone,
    "LEASELOST": LeaseLost,
    "NEWERSCHEMA": ConfigurationError,
    "INCOMPLETE": StoreError,
    "DAMAGED": StoreDamaged,
    "WRONGTYPE": StoreDamaged,
}
_NOT_READY_CODES: Final = ("NOAUTH", "WRONGPASS", "NOPERM")
_UNAVAILABLE_CODES: Final = ("BUSY", "LOADING", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN")
_TOO_MANY: Final = "ERR max number of clients"


def translate(error: Exception) -> Exception:
    """The error of ours that a refusal or a failed connection means."""
    text = str(error)
    code, _, rest = text.partition(" ")
    if not isinstance(error, hiredis.ReplyError) or code in _UNAVAILABLE_CODES or text.startswith(_TOO_MANY):
        return StoreUnavailable(f"the store does not answer: {text or type(error).__name__}")
    if code in _BY_CODE:
        return _BY_CODE[code](rest.partition(" script: ")[0])
    if code == "NOSCRIPT":
        return ScriptsUnknown(f"the store does not know our scripts: {text}")
    if code in _NOT_READY_CODES or text.startswith("ERR AUTH"):  # which a server without passwords answers
        return StoreNotReady(f"the store has not been prepared for this user: {text}")
    if code == "OOM":
        return StoreFull(f"the store is full: {text}")
    return StoreError(f"the store refused: {text}")


class Connection:
    """A pool of connections as one user.

    `reread` tells its credentials again, for each new connection: a Secret that was changed reaches a pod that runs.
    """

    def __init__(self, access: StoreAccess, name: str, reread: Callable[[], StoreAccess] | None = None) -> None:
        if "@" in access.url and access.password:
            raise ConfigurationError("the store's URL holds a user or password beside the configured one: leave it out")
        try:
            self._endpoint = Endpoint.parse(access.url)
        except ValueError as error:
            raise ConfigurationError(f"the store's URL cannot be used: {error}") from error
        self._access = access
        self._name = name
        self._reread = reread
        self._idle: list[Wire] = []

    async def close(self) -> None:
        """Close every connection that is not in use."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # in which they end

    async def command(self, *arguments: Any) -> Any:
        """One plain command."""
        [answer] = await self.commands([arguments])
        return answered(answer)

    async def commands(self, batch: Sequence[Command]) -> list[Any]:
        """Several commands in one round trip, not in one step; an error of one is its answer, translated."""
        for wait in (*RETRY_SECONDS, None):
            try:
                async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                    answers = await self._ask(batch)
            except TimeoutError:  # has waited long enough
                raise StoreUnavailable(f"the store does not answer within {CALL_TIMEOUT_SECONDS} s") from None
            except (OSError, hiredis.HiredisError) as error:
                if wait is None or isinstance(error, hiredis.ReplyError):
                    raise translate(error) from error
                await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - jitter
            else:
                break
        return [translate(answer) if isinstance(answer, Exception) else answer for answer in answers]

    async def _ask(self, batch: Sequence[Command]) -> list[Any]:
        wire = self._take_idle() or await self._open()
        try:
            answers = await wire.ask(batch)
        except BaseException:
            wire.close()
            raise
        self._idle.append(wire)
        return answers

    def _take_idle(self) -> Wire | None:
        while self._idle:
            wire = self._idle.pop()
            if wire.is_open:
                return wire
            wire.close()
        return None

    async def _open(self) -> Wire:
        wire = await Wire.open(self._endpoint)
        try:
            for answer in await wire.ask(self._greeting()):
                answered(answer)
        except BaseException:
            wire.close()
            raise
        return wire

    def _greeting(self) -> list[Command]:
        if self._reread is not None:
            with suppress(ConfigurationError):  # what was said before, while the new cannot be read
                self._access = self._reread()
        access = self._access
        login = (
            [word for word in (access.username, access.password) if word] if access.password else self._endpoint.login
        )
        authenticate = [("AUTH", *login)] if login else []
        select = [("SELECT", self._endpoint.database)] if self._endpoint.database else []
        return [*authenticate, ("CLIENT", "SETNAME", self._name), *select]

    async def info(self) -> dict[str, str]:
        """What the server says of itself."""
        lines = (await self.command("INFO")).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def call_and_mark(self, uid: str, script: Script, *arguments: Any) -> Any:
        """Run a script on a run and tell the operator that it changed, in one round trip."""
        answer, _ = await self.commands([call(script, uid, *arguments), mark_dirty(uid)])
        return answered(answer)

    async def load(self, scripts: Sequence[Script]) -> None:
        """Give the server scripts; idempotent."""
        for answer in await self.commands([("SCRIPT", "LOAD", script.source) for script in scripts]):
            answered(answer)


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
