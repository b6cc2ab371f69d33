"""Every type goes through what may happen to its pods, and is compared with a run that nothing happened to.

Pods are asked to go (SIGTERM), are killed, go because of a pause and come back; and items that were given up are done
by another run. What the world saw, by the neighbours' ledgers, and what was kept are the same; only what a killed
worker had in its hands may have been seen twice.
"""

import asyncio
from collections import Counter
from random import Random
from typing import Any, Final, NamedTuple

from batchjob.api.run import Run
from batchjob.core import items
from batchjob.core.snapshot import Snapshot
from tests.prove.processors.kinds import CONCURRENCY, KINDS, PODS, REDRIVEN, Kind
from tests.support.crew import LEASE_MS, PATIENCE_SECONDS, Crew
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers

BLOWS: Final = ("drain", "kill", "pause", "redrive")
SHARE: Final = 0.6  # of the items, by which every blow has fallen: some are left that nobody has begun
QUIET_SECONDS: Final = 1.0  # of a pause, in which nobody may see anything


class Case(NamedTuple):
    """A type, what happens to its pods and how often, and how long the run takes if nothing did."""

    kind: str
    blow: str
    items: int = 200
    blows: int = 5
    seconds: float = 15.0


CASES: Final = tuple(
    Case(kind, blow) for kind in KINDS for blow in BLOWS if (kind, blow) != ("report", "redrive")
)  # a report has no source


async def trial(workers: Workers, neighbours: Neighbours, case: Case, seed: int) -> dict[str, Any]:
    """One undisturbed run and one that is not; AssertionError where they differ."""
    kind = KINDS[case.kind](workers, neighbours, case.items)
    kind.calm()
    calm = await work(workers, kind)
    seen, kept = kind.seen(calm), await kind.kept(calm)
    assert set(seen.values()) == {1}, "what nobody disturbed was seen again"
    assert len(kept) >= kind.items
    if case.blow == "redrive":
        return {"runs": 2, "items": kind.items, **await redrive(workers, kind, seen, kept)}
    kind.slow(case.seconds * PODS * CONCURRENCY * kind.together / kind.items)
    lease_ms = LEASE_MS if case.blow == "kill" else items.LEASE_MS
    run = await kind.open(lease_ms=lease_ms)
    async with Crew(workers, run, PODS, lease_ms) as crew:
        for number in range(case.blows):
            share = (number + Random(seed * 100 + number).random()) / case.blows * SHARE
            least = max(1, round(kind.items * share))
            await workers.wait(run, lambda s, n=least: s.counts.succeeded >= n, "items", PATIENCE_SECONDS)  # type: ignore[misc]
            await strike(case.blow, workers, kind, run, crew)
        kind.calm()  # what is left need not be slow
        found = await crew.finish()
    again = judge(kind, found, seen, kind.seen(run))
    assert await kind.kept(run) == kept
    # What counts as lost is what a worker had said it might begin. Seen again is at most what each of its slots was at,
    # and one item more, done since the last commit: each takes longer than it is until the next commit.
    lost = found.counts.retried_after_loss
    assert again <= lost, f"{again} were seen again, and {lost} were lost with those who were killed"
    assert again <= case.blows * 2 * CONCURRENCY * kind.together, f"{again} were seen again"
    assert case.blow == "kill" or not lost, f"{lost} were lost, and nobody was killed"
    blows = f"{case.blow}s"
    return {
        "runs": 2,
        "items": kind.items,
        blows: case.blows,
        f"lost_in_{blows}": lost,
        f"seen_again_after_{blows}": again,
    }


async def work(workers: Workers, kind: Kind, parent: Run | None = None) -> Run:
    """A run that nobody disturbs, to its end."""
    run = await kind.open(parent)
    async with Crew(workers, run, PODS, items.LEASE_MS) as crew:
        await crew.finish()
    return run


async def strike(blow: str, workers: Workers, kind: Kind, run: Run, crew: Crew) -> None:
    """Let it happen to the run's pods."""
    match blow:
        case "kill":
            crew.kill()
        case "drain":
            await crew.drain()
        case "pause":
            await workers.store.pause(run.uid)
            await crew.drain_all()
            before = kind.seen(run)
            assert (await workers.snapshot(run)).counts.active == 0, "somebody holds items in a pause"
            await asyncio.sleep(QUIET_SECONDS)
            assert kind.seen(run) == before, "something happened in a pause"
            await workers.store.resume(run.uid)
            crew.fill()


def judge(kind: Kind, found: Snapshot, clean: Counter[Any], seen: Counter[Any]) -> int:
    """Nothing is missing and nothing else was seen; returns how much was seen again."""
    assert (found.counts.succeeded, found.counts.failed) == (kind.items, 0)
    assert set(seen) == set(clean)
    return seen.total() - clean.total()


async def redrive(workers: Workers, kind: Kind, seen: Counter[Any], kept: dict[str, Any]) -> dict[str, Any]:
    """Every fifth item is given up, and is done by a run of its own: together they are the undisturbed one."""
    kind.spoil()
    first = await work(workers, kind)
    given_up = kind.items // REDRIVEN
    found = (await workers.snapshot(first)).counts
    assert (found.succeeded, found.failed) == (kind.items - given_up, given_up)
    kind.calm()
    second = await work(workers, kind, first)
    found = (await workers.snapshot(second)).counts
    assert (found.succeeded, found.failed) == (given_up, 0)
    assert kind.seen(first) + kind.seen(second) == seen
    both = await kind.kept(first), await kind.kept(second)
    assert not both[0].keys() & both[1].keys(), "an item was done twice"
    assert both[0] | both[1] == kept
    return {"redriven": given_up, "seen_again_after_redrives": 0}
