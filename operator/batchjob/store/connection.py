"""The connection to Redis: time limits on every call, scripts by SHA, errors translated.

A lost connection is tried again a few times at once: every call but `once` may be repeated, since scripts recognise
what they have seen before (a share of a rate is taken twice then, which only makes slower). What stays down longer is
the caller's to wait for.
"""

import asyncio
import random
import re
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import hiredis

from batchjob.api.run import StoreAccess
from batchjob.errors import (
    ConfigurationError,
    LeaseLost,
    NotLeading,
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
from batchjob.store.servers import find_servers
from batchjob.store.wire import Command, Endpoint, Wire

T = TypeVar("T")

CALL_TIMEOUT_SECONDS: Final = 8.0  # below a lease, so that a worker learns of a dead server in time
BLOCK_LIMIT_SECONDS: Final = 5.0  # longest blocking read: well below the time limit of a call
SCAN_COUNT: Final = 1000  # keys a call
ABOUT_ITSELF: Final = frozenset({"INFO", "CLUSTER"})  # commands about a server, not about runs
RETRY_SECONDS: Final = (0.05, 0.1, 0.2)  # waits, jittered: enough for a dropped connection, not for a restart

# What the scripts and the server say, by the first word of the message.
_BY_CODE: Final[dict[str, type[Exception]]] = {
    "RUNGONE": RunGone,
    "LEASELOST": LeaseLost,
    "NEWERSCHEMA": ConfigurationError,
    "OLDERSCHEMA": ConfigurationError,
    "INCOMPLETE": StoreError,
    "DAMAGED": StoreDamaged,
    "WRONGTYPE": StoreDamaged,
}
_IN_WORDS: Final[dict[str, tuple[type[Exception], str]]] = {
    "NOSCRIPT": (ScriptsUnknown, "the store does not know our scripts"),
    "OOM": (StoreFull, "the store is full"),
}
_NOT_READY_CODES: Final = ("NOAUTH", "WRONGPASS", "NOPERM")
_UNAVAILABLE_CODES: Final = frozenset(
    {"BUSY", "LOADING", "MISCONF", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "ASK"}
)
# A cluster or a sentinel has made another server the one to ask; the last is what ends a wait of BLPOP then.
_ELSEWHERE: Final = ("MOVED ", "READONLY ", "UNBLOCKED ")
_TOO_MANY: Final = "ERR max number of clients"
_PLACE: Final = re.compile(r" script: \w+, on @\w+:\d+\.?$")  # in a script of ours, where one ended with this error


def translate(error: Exception) -> Exception:
    """The error of ours that a refusal or a failed connection means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return StoreUnavailable(f"the store's certificate is not trusted: {error.verify_message}")
    text = _PLACE.sub("", str(error)).rstrip(".")
    code, _, rest = text.partition(" ")
    if not isinstance(error, hiredis.ReplyError) or code in _UNAVAILABLE_CODES or text.startswith(_TOO_MANY):
        return StoreUnavailable(f"the store does not answer: {text or type(error).__name__}")
    if code in _BY_CODE:
        return _BY_CODE[code](rest)
    if code in _IN_WORDS:
        kind, what = _IN_WORDS[code]
        return kind(f"{what}: {text}")
    if code in _NOT_READY_CODES or text.startswith("ERR AUTH"):  # which a server without passwords answers
        return StoreNotReady(f"the store has not been prepared for this user: {text}")
    return StoreError(f"the store refused: {error}")  # perhaps a mistake of ours, whose place is worth knowing


class Connection:
    """A pool of connections as one user.

    `reread` tells its credentials again, for each new connection: a Secret that was changed reaches a pod that runs.
    `may_ask` is asked before each round trip, with a connection in hand; NotLeading where it says no, but for what only
    asks the servers about themselves.
    """

    def __init__(
        self,
        access: StoreAccess,
        name: str,
        reread: Callable[[], StoreAccess] | None = None,
        may_ask: Callable[[], bool] | None = None,
    ) -> None:
        if "@" in access.url and access.password:
            raise ConfigurationError("the store's URL holds a user or password beside the configured one: leave it out")
        try:
            self._servers = find_servers(access.url, access.ca)
        except ValueError as error:
            raise ConfigurationError(f"the store's URL cannot be used: {error}") from error
        self._access = access
        self._name = name
        self._reread = reread
        self._may_ask = may_ask
        self._idle = defaultdict[Endpoint, list[Wire]](list)

    async def close(self) -> None:
        """Close every connection that is not in use."""
        self._forget()
        await asyncio.sleep(0)  # in which they end

    def _forget(self) -> None:
        """Connections that are not in use, and what is known of the servers."""
        self._servers.forget()
        for wires in self._idle.values():
            while wires:
                wires.pop().close()

    async def command(self, *arguments: Any) -> Any:
        """One plain command."""
        [answer] = await self.commands([arguments])
        return answered(answer)

    async def once(self, *arguments: Any) -> Any:
        """One plain command that takes something away, and so is not asked again: its answer may be lost with it."""
        [answer] = await self._persistently(lambda: self._ask([arguments]), waits=())
        return answered(answer)

    async def commands(self, batch: Sequence[Command]) -> list[Any]:
        """Several commands in one round trip, not in one step; an error of one is its answer, translated."""
        return await self._persistently(lambda: self._ask(batch))

    async def everywhere(self, *batch: Command) -> list[list[Any]]:
        """The commands on every server: users and scripts are not shared in a cluster. The answers of each server."""
        servers = await self._persistently(lambda: self._servers.all(self._ask_alone))
        found = [await self._persistently(partial(self._ask_one, server, batch)) for server in servers]
        return [[answered(answer) for answer in answers] for answers in found]

    async def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """Every key of that pattern, in no order; some may come twice."""
        for server in await self._persistently(lambda: self._servers.all(self._ask_alone)):
            cursor = b"0"
            while True:
                command = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
                [answer] = await self._persistently(partial(self._ask_one, server, [command]))
                cursor, page = answered(answer)
                for key in page:
                    yield key
                if cursor == b"0":
                    break

    async def _persistently(
        self, attempt: Callable[[], Awaitable[list[T]]], waits: Sequence[float] = RETRY_SECONDS
    ) -> list[T]:
        """The answers of `attempt`, tried again a few times where the connection fails."""
        for wait in (*waits, None):
            try:
                async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                    answers = await attempt()
            except TimeoutError:  # has waited long enough
                self._forget()
                raise StoreUnavailable(f"the store does not answer within {CALL_TIMEOUT_SECONDS} s") from None
            except (OSError, hiredis.HiredisError) as error:
                self._forget()
                if wait is None or isinstance(error, hiredis.ReplyError):
                    raise translate(error) from error
                await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - jitter
            else:
                break
        return [translate(answer) if isinstance(answer, Exception) else answer for answer in answers]  # type: ignore[misc]  # an answer may be an error

    async def _ask(self, batch: Sequence[Command]) -> list[Any]:
        servers = [await self._servers.of(command, self._ask_alone) for command in batch]
        if len(set(servers)) == 1:
            return await self._ask_one(servers[0], batch)
        answers: dict[int, Any] = {}
        for server in dict.fromkeys(servers):
            places = [place for place, where in enumerate(servers) if where == server]
            answers |= zip(places, await self._ask_one(server, [batch[place] for place in places]), strict=True)
        return [answers[place] for place in range(len(batch))]

    async def _ask_alone(self, server: Endpoint, command: Command) -> Any:
        [answer] = await self._ask_one(server, [command])
        return answered(answer)

    async def _ask_one(self, server: Endpoint, batch: Sequence[Command]) -> list[Any]:
        wire = self._take_idle(server) or await self._open(server)
        try:
            self._check(batch)
            answers = await wire.ask(batch)
        except BaseException:
            wire.close()
            raise
        if any(isinstance(answer, hiredis.ReplyError) and str(answer).startswith(_ELSEWHERE) for answer in answers):
            wire.close()
            raise ConnectionResetError("another server has what was asked for now")
        self._idle[server].append(wire)
        return answers

    def _check(self, batch: Sequence[Command]) -> None:
        if self._may_ask and not self._may_ask() and not all(command[0] in ABOUT_ITSELF for command in batch):
            raise NotLeading("the store was not asked, as another replica may lead by now")

    def _take_idle(self, server: Endpoint) -> Wire | None:
        wires = self._idle[server]
        while wires:
            wire = wires.pop()
            if wire.is_open:
                return wire
            wire.close()
        return None

    async def _open(self, server: Endpoint) -> Wire:
        wire = await Wire.open(server)
        try:
            for answer in await wire.ask(self._greeting(server)):
                answered(answer)
        except BaseException:
            wire.close()
            raise
        return wire

    def _greeting(self, server: Endpoint) -> list[Command]:
        if self._reread is not None:
            with suppress(ConfigurationError):  # what was said before, while the new cannot be read
                self._access = self._reread()
        access = self._access
        login = [word for word in (access.username, access.password) if word] if access.password else server.login
        authenticate = [("AUTH", *login)] if login else []
        select = [("SELECT", server.database)] if server.database else []
        return [*authenticate, ("CLIENT", "SETNAME", self._name), *select]

    async def call_and_mark(self, uid: str, script: Script, *arguments: Any) -> Any:
        """Run a script on a run and tell the operator that it changed, in one round trip."""
        answer, _ = await self.commands([call(script, uid, *arguments), mark_dirty(uid)])
        return answered(answer)


def answered(answer: Any) -> Any:
    """An answer of `Connection.commands`, raised if it is an error."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def call(script: Script, uid: str, *arguments: Any) -> tuple[Any, ...]:
    """The command that runs a script on a run: all keys of the run, then the arguments."""
    return ("EVALSHA", script.sha, len(keys.NAMES), *keys.run_keys(uid), *arguments)


def load(script: Script) -> Command:
    """The command that gives a server a script; idempotent."""
    return ("SCRIPT", "LOAD", script.source)


def mark_dirty(uid: str) -> tuple[Any, ...]:
    """The command that tells the operator of a change; the time only orders the runs that wait to be read."""
    return ("ZADD", keys.DIRTY, "NX", time.time_ns() // 1_000_000, uid)
