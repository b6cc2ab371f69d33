"""The proofs of the job types, and how many trials each takes in full."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from batchjob import log
from batchjob.api.run import StoreAccess
from batchjob.store import Store
from tests.prove.processors import annotations, exports, histories, mails, outages, survivals
from tests.prove.proof import Proof
from tests.support.neighbours.client import Neighbours, local_neighbours
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.workers import Workers


def with_workers(
    trial: Callable[[Workers, Path, int], Awaitable[dict[str, Any]]],
) -> Callable[[int, Path], dict[str, Any]]:
    """A trial with a store and workers of its own, and a folder for neighbours."""

    async def within(number: int, folder: Path, url: str) -> dict[str, Any]:
        async with Store.connect(StoreAccess(url=url), name="operator") as store:
            await store.load_scripts()
            return await trial(Workers(store, url, folder / "pods"), folder / "neighbours", number)

    def run(number: int, folder: Path) -> dict[str, Any]:
        (folder / "redis").mkdir()
        server = RedisServer(folder / "redis").start()
        try:
            return asyncio.run(within(number, folder, server.url))
        finally:
            server.kill()

    return run


def with_neighbours(
    trial: Callable[[Workers, Neighbours, int], Awaitable[dict[str, Any]]],
) -> Callable[[int, Path], dict[str, Any]]:
    """The same, with neighbours."""

    async def within(workers: Workers, folder: Path, number: int) -> dict[str, Any]:
        with local_neighbours(folder) as neighbours:
            return await trial(workers, neighbours, number)

    return with_workers(within)


async def annotate(workers: Workers, neighbours: Neighbours, number: int) -> dict[str, Any]:
    return await annotations.trial(workers, neighbours, sentences=2000, seed=number, timeout_seconds=10)


MAILS: Final = (
    mails.Case(recipients=1000),
    mails.Case(recipients=1000, kills=20),
    mails.Case(recipients=1000, kills=20, on_doubt="deadLetter"),
)


async def mail(workers: Workers, neighbours: Neighbours, number: int) -> dict[str, Any]:
    return await mails.trial(workers, neighbours, MAILS[number - 1], seed=number)


async def survive(workers: Workers, neighbours: Neighbours, number: int) -> dict[str, Any]:
    return await survivals.trial(workers, neighbours, survivals.CASES[number - 1], seed=number)


async def tell(workers: Workers, neighbours: Neighbours, number: int) -> dict[str, Any]:
    log.configure("error")  # its workers are in this process
    return await histories.trial(workers, neighbours, runs=60, seed=number)


EXPORTS: Final = (  # rows, kills, and the block
    (1_000_000, 0, {"format": "csv"}),
    (1_000_000, 0, {"format": "parquet"}),
    (1_000_000, 5, {"format": "csv"}),
    (1_000_000, 5, {"format": "parquet"}),
    (1_000_000, 5, {"format": "csv", "singleFile": True}),
    (10_000_000, 0, {"format": "parquet"}),  # for its memory: the format that needs more, in parts ten times as large
)


async def export(workers: Workers, _: Path, number: int) -> dict[str, Any]:
    rows, kills, block = EXPORTS[number - 1]
    postgres = PostgresServer()
    try:
        return await exports.trial(workers, postgres.start(), workers.claim, rows, kills, seed=number, **block)
    finally:
        postgres.stop()


AT_ONCE: Final = 1  # trials: each has a rate to keep, or as many workers as two cores can bear
PROOFS: Final = (
    Proof(
        "annotations",
        "sentences that a model's server answers badly all end as they should, within its limits, and their scores are "
        "those of a direct call",
        2,
        with_neighbours(annotate),
    ),
    Proof(
        "outages",
        "a model's server that is away for a minute loses no item, and waiting for it spends no attempt",
        1,
        with_workers(lambda workers, folder, _: outages.trial(workers, folder, items=1000, away_seconds=60)),
    ),
    Proof(
        "mails",
        "through a server that puts off, refuses and drops, every recipient that it accepts gets the mail under one "
        "Message-ID; twice only what was in doubt when a connection or a killed worker was lost, and with onDoubt: "
        "deadLetter nothing",
        len(MAILS),
        with_neighbours(mail),
    ),
    Proof(
        "survivals",
        "runs of every type whose pods are asked to go, are killed and are paused, or whose items are done by a "
        "redrive, leave what an undisturbed run does, and what was seen again was in the hands of a killed worker",
        len(survivals.CASES),
        with_neighbours(survive),
    ),
    Proof(
        "histories",
        "every figure of a report is that of an independent count from the ledgers, whatever the history",
        6,
        with_neighbours(tell),
    ),
    Proof(
        "exports",
        "an export of a query, to CSV and to Parquet, has the rows of a direct COPY in their order, and no other file, "
        "with workers killed in the midst of it too; no worker takes more than 150 MiB, however many rows there are",
        len(EXPORTS),
        with_workers(export),
    ),
)
