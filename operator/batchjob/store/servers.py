"""Which servers a store's URL means, and which of them a command is for.

redis://host:port/db · redis+cluster://host:port · redis+sentinel://host:port,host:port/name/db; rediss for TLS;
unix:///path for a socket. All keys of a run are in one slot of a cluster, so a command is for one server; what is not
shared (users, scripts) is for every one.
"""

import asyncio
import binascii
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import hiredis

from batchjob.store.wire import Command, Endpoint, Wire

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SLOTS: Final = 16384
HOST_SECONDS: Final = 1.5  # for one of several that can tell: below the time limit of a call

Ask = Callable[[Endpoint, Command], Awaitable[Any]]  # one command, as the store's user


class Servers(Protocol):
    """Where commands go. Errors: OSError where that cannot be learned now."""

    async def of(self, command: Command, ask: Ask) -> Endpoint:
        """The server that a command is for."""

    async def all(self, ask: Ask) -> list[Endpoint]:
        """Every server that takes writes."""

    def forget(self) -> None:
        """What was learned of them may have changed."""


class One:
    """A single server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def of(self, _: Command, __: Ask) -> Endpoint:
        """The one."""
        return self._endpoint

    async def all(self, _: Ask) -> list[Endpoint]:
        """The one."""
        return [self._endpoint]

    def forget(self) -> None:
        """Nothing is learned."""


class Watched:
    """The server that sentinels call the master. They are asked without a password."""

    def __init__(self, sentinels: list[Endpoint], name: str) -> None:
        self._sentinels = sentinels
        self._name = name
        self._master: Endpoint | None = None

    async def of(self, _: Command, __: Ask) -> Endpoint:
        """The master."""
        if self._master is None:
            self._master = await self._find()
        return self._master

    async def all(self, ask: Ask) -> list[Endpoint]:
        """The master; replicas follow it."""
        return [await self.of((), ask)]

    def forget(self) -> None:
        """Ask the sentinels again."""
        self._master = None

    async def _find(self) -> Endpoint:
        for sentinel in self._sentinels:
            with suppress(OSError, TimeoutError, hiredis.HiredisError):
                async with asyncio.timeout(HOST_SECONDS):
                    answer = await self._asked(sentinel)
                if isinstance(answer, list):
                    return sentinel._replace(host=answer[0].decode(), port=int(answer[1]))
        raise ConnectionError(f"no sentinel knows a master of the name {self._name}")

    async def _asked(self, sentinel: Endpoint) -> Any:
        wire = await Wire.open(sentinel)
        try:
            [answer] = await wire.ask([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)])
        finally:
            wire.close()
        return answer


class Cluster:
    """Servers that share the slots."""

    def __init__(self, seed: Endpoint) -> None:
        self._seeds = [seed]
        self._ranges: list[tuple[int, int, Endpoint]] = []  # first and last slot of each range, and its master

    async def of(self, command: Command, ask: Ask) -> Endpoint:
        """The master of the slot of its first key."""
        slot = slot_of(command)
        for first, last, endpoint in await self._known(ask):
            if first <= slot <= last:
                return endpoint
        raise ConnectionError(f"no server of the cluster has slot {slot}")

    async def all(self, ask: Ask) -> list[Endpoint]:
        """Every master."""
        return list(dict.fromkeys(endpoint for _, _, endpoint in await self._known(ask)))

    def forget(self) -> None:
        """Ask for the slots again."""
        self._ranges = []

    async def _known(self, ask: Ask) -> list[tuple[int, int, Endpoint]]:
        if not self._ranges:
            self._ranges = await self._learn(ask)
            known = [endpoint for _, _, endpoint in self._ranges]
            self._seeds = list(dict.fromkeys([*known, *self._seeds]))  # any of them can tell, should one be gone
        return self._ranges

    async def _learn(self, ask: Ask) -> list[tuple[int, int, Endpoint]]:
        failure: Exception = ConnectionError("the cluster has no server")
        # One that is silent must not use up the time of the others.
        for seed in self._seeds:
            try:
                async with asyncio.timeout(HOST_SECONDS):
                    ranges = await ask(seed, ("CLUSTER", "SLOTS"))
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                failure = error
                continue
            return [
                (first, last, seed._replace(host=(host or b"").decode() or seed.host, port=port))
                for first, last, (host, port, *_), *_ in ranges
            ]
        raise ConnectionError(f"no server of the cluster can tell who has what: {failure}")


def find_servers(url: str, ca: str | None = None) -> Servers:
    """The servers of a URL; ValueError says what is wrong with it. `ca`: the certificates to trust (PEM) for TLS."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return One(Endpoint(parts.path, None, 0, None, ()))
    scheme, _, topology = parts.scheme.partition("+")
    known = scheme in {"redis", "rediss"} and topology in {"", "cluster", "sentinel"}
    if not known or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "it must be redis://host:port/database, redis+cluster://host:port or "
            "redis+sentinel://host:port,host:port/name/database, with rediss for TLS"
        )
    login, _, addresses = parts.netloc.rpartition("@")
    tls = _trust(ca) if scheme == "rediss" else None
    words = tuple(unquote(word) for word in login.split(":", 1) if word)
    *name, database = parts.path.strip("/").split("/") if topology != "sentinel" else _sentinel_path(parts.path)
    endpoints = [
        Endpoint(*_address(address, SENTINEL_PORT if topology == "sentinel" else PORT), int(database or 0), tls, words)
        for address in addresses.split(",")
    ]
    if topology == "sentinel":
        return Watched(endpoints, name[0])
    if name or len(endpoints) > 1:
        raise ValueError("it names more than one server or database")
    return Cluster(endpoints[0]) if topology else One(endpoints[0])


def slot_of(command: Command) -> int:
    """The slot of a command's first key: CRC16 of its hash tag, as Redis Cluster has it."""
    key = command[3 if command[0] == "EVALSHA" else command.index("STREAMS") + 1 if command[0] == "XREAD" else 1]
    text = key if isinstance(key, bytes) else str(key).encode()
    _, opened, rest = text.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return binascii.crc_hqx(tag if opened and closed and tag else text, 0) % SLOTS


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca if ca is None else ca or " ")  # an empty text would be none
    except ssl.SSLError as error:
        raise ValueError(f"the certificates to trust for it are no PEM: {error}") from None


def _sentinel_path(path: str) -> list[str]:
    name, *rest = path.strip("/").split("/")
    if not name or len(rest) > 1:
        raise ValueError("it must name the master: redis+sentinel://host:port,host:port/name/database")
    return [name, *rest] if rest else [name, ""]


def _address(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"it names no host: {text}")
    return parts.hostname, parts.port or default_port
