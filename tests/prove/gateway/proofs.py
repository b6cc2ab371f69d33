"""The proofs of the gateway, and how many trials each takes in full."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from batchjob.api.run import StoreAccess
from batchjob.store import Store
from tests.prove.gateway import bodies, schema, tenancies, watches
from tests.prove.gateway.stage import a_gateway
from tests.prove.proof import Proof
from tests.support.live_gateway import GatewayProcess, Teller
from tests.support.redis_server import RedisServer


def with_store(trial: Callable[[str, Path, int], dict[str, Any]]) -> Callable[[int, Path], dict[str, Any]]:
    """A trial with a Redis of its own, by its URL."""

    def run(number: int, folder: Path) -> dict[str, Any]:
        (folder / "redis").mkdir()
        server = RedisServer(folder / "redis").start()
        try:
            return trial(server.url, folder, number)
        finally:
            server.kill()

    return run


def watch(url: str, folder: Path, number: int) -> dict[str, Any]:
    """Ten kills under those who watch."""

    async def within(gateway: GatewayProcess) -> dict[str, Any]:
        async with Store.connect(StoreAccess(url=url), name="operator") as store:
            await store.load_scripts()
            return await watches.trial(gateway, Teller(store), "watched", kills=10, seed=number)

    with a_gateway(folder, url) as stage:
        stage.api.add("watched", "alice", phase="Running")
        return asyncio.run(within(stage.gateway))


AT_ONCE: Final = 1  # trials: each measures memory and time, beside a gateway and who asks it
PROOFS: Final = (
    Proof(
        "bodies",
        "a body that is wrong, in whatever way, is refused with a 4xx that points at it, in bounds of memory and time, "
        "and leaves nothing, with staging and without",
        20,
        with_store(lambda url, folder, number: bodies.trial(url, folder, 1000, number, staging=number % 2 == 0)),
    ),
    Proof(
        "schema",
        "whatever the OpenAPI document allows or does not, alone and in sequences along its links, is answered as the "
        "document says, and never with a 5xx",
        3,
        with_store(lambda url, folder, number: schema.trial(url, folder, seed=number, examples=200)),
    ),
    Proof(
        "tenancy",
        "every route answers each role, every token that is none and every forged owner as its table says",
        2,
        lambda number, folder: tenancies.trial(folder, seed=number),
    ),
    Proof(
        "live",
        "whoever watches a run while gateways are killed sees each event once, in order and without a gap, by "
        "WebSocket and by Server-Sent Events",
        5,
        with_store(watch),
    ),
)
