"""Processors in processes of their own: what they are given, how they end, and what their end costs."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from batchjob.api.run import EXIT_CLOSED, EXIT_DRAINED, Run
from batchjob.core.items import Item, RunState, Succeeded
from batchjob.core.snapshot import Snapshot
from batchjob.worker import Context
from batchjob.worker.children import ChildExecution
from batchjob.worker.execution import Attempt
from batchjob.worker.settings import Settings
from tests.support.chaos.computing import Computing
from tests.support.workers import CHAOS, Workers, ended, wait_for

ONCE: dict[str, Any] = {"retry": {"maxAttempts": 1}}


class Journal:
    """What the processes of a run noted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal"
        self.path.touch()

    def lines(self, what: str) -> list[tuple[int, str]]:
        """(pid, item) of each note of that kind."""
        notes = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(pid), item) for kind, pid, item in notes if kind == what]

    async def wait(self, what: str, count: int) -> list[tuple[int, str]]:
        """Wait until there are so many notes of that kind."""

        async def look() -> list[tuple[int, str]] | None:
            found = self.lines(what)
            return found if len(found) >= count else None

        return await wait_for(look, f"{count} notes of {what}")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


class Bench:
    """Runs of the processors in tests/support/chaos/computing.py."""

    def __init__(self, workers: Workers, journal: Journal) -> None:
        self.workers = workers
        self.journal = journal

    async def open(self, *items: dict[str, Any], processor: str = "own-process", **fields: Any) -> Run:
        """A run over these items."""
        params = {"journal": str(self.journal.path)} | fields.pop("params", {})
        named = [{"id": f"i{n}", "data": data} for n, data in enumerate(items)]
        custom = {"processor": processor, "params": params}
        return await self.workers.open({"type": "custom", "source": {"items": named}, "custom": custom, **fields})

    async def finish(self, run: Run) -> Snapshot:
        """Let a worker do the run, to its end."""
        with self.workers.process(run) as worker:
            assert await ended(worker) == EXIT_CLOSED
        found = await self.workers.snapshot(run)
        assert found.state is RunState.CLOSED
        return found

    async def results(self, run: Run) -> dict[str, Any]:
        """Id → result."""
        return {result.id: json.loads(result.result) async for result in self.workers.store.results(run.uid)}


@pytest.fixture
def bench(workers: Workers, journal: Journal) -> Bench:
    return Bench(workers, journal)


async def all_gone(pids: set[int]) -> None:
    async def look() -> bool | None:
        return not any(map(lives, pids)) or None

    await wait_for(look, f"{pids} to end")


def lives(pid: int) -> bool:
    """Whether it runs: one that has ended and waits to be asked after does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_each_slot_has_a_process_that_opens_works_and_closes(bench: Bench, tmp_path: Path) -> None:
    """Two compute until both have begun, so each needs a process; the third item comes to one of the two."""
    begun = tmp_path / "both have begun"
    slow = {"do": "compute", "until": str(begun)}
    run = await bench.open(slow, slow, {}, concurrency=2)
    with bench.workers.process(run) as worker:
        first, second = await bench.journal.wait("process", 2)
        begun.touch()
        assert await ended(worker) == EXIT_CLOSED
        main = worker.pid
    children = {first[0], second[0]}
    assert len(children - {main}) == 2
    assert Counter(pid for pid, _ in bench.journal.lines("open")) == dict.fromkeys(children | {main}, 1)
    assert Counter(pid for pid, _ in bench.journal.lines("close")) == dict.fromkeys(children | {main}, 1)
    found = await bench.workers.snapshot(run)
    assert (found.counts.succeeded, found.usage) == (3, {"seen": 3})
    results = await bench.results(run)
    assert {answer["pid"] for answer in results.values()} == children
    assert results["i2"] == {"pid": results["i2"]["pid"], "key": f"{run.uid}:i2", "in_time": True}
    logged = [line for line in bench.workers.log(run) if line["event"] == "computed"]
    assert {(line["job"], line["item"], line["pid"]) for line in logged} == {
        (f"{run.namespace}/{run.name}", name, answer["pid"]) for name, answer in results.items()
    }


async def test_process_many_goes_there_too_with_its_parts_and_its_exceptions(bench: Bench) -> None:
    run = await bench.open({}, {"odd": 1}, {}, processor="own-process-many", concurrency=2)
    found = await bench.finish(run)
    assert (found.counts.succeeded, found.failed_positions, found.usage) == (2, [1], {"seen": 2})
    assert [(error.error_class, error.message) for error in found.last_errors] == [("invalid-input", "odd one")]
    assert sorted(await bench.workers.store.run(run.uid, "test").parts()) == ["part-0", "part-2"]


async def test_the_cache_is_in_reach_there(bench: Bench) -> None:
    run = await bench.open({"do": "remember"}, {"do": "remember"}, concurrency=1)
    await bench.finish(run)
    assert await bench.results(run) == {"i0": "nothing", "i1": "for hours"}


async def test_what_is_raised_there_means_what_it_means_elsewhere(bench: Bench) -> None:
    run = await bench.open({"do": "fail"}, {"do": "exit"}, {"do": "ask"}, concurrency=1, **ONCE)
    found = await bench.finish(run)
    errors = {error.item_id: (error.error_class, error.message) for error in found.last_errors}
    assert errors["i0"] == ("invalid-input", "told to fail: ?")
    assert errors["i1"] == ("internal", "RuntimeError: the processor raised SystemExit: 3")
    assert errors["i2"][0] == "internal"
    assert "the store is out of reach in a process of the processor's own" in errors["i2"][1]
    assert len({pid for pid, _ in bench.journal.lines("process")}) == 1, "none of that ends the process"


async def test_a_process_that_dies_costs_its_own_item_an_attempt_and_the_others_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    both_dead = tmp_path / "both are given up"
    retry = {"maxAttempts": 2, "backoff": {"initialDelaySeconds": 0}}
    others = [{"do": "compute", "until": str(both_dead)}, {}, {}]
    run = await bench.open({"do": "crash"}, {"do": "kill"}, *others, concurrency=3, retry=retry)
    with bench.workers.process(run) as worker:
        await bench.workers.wait(run, lambda s: s.counts.failed == 2, "two items to be given up")
        both_dead.touch()
        assert await ended(worker) == EXIT_CLOSED
    found = await bench.workers.snapshot(run)
    assert (found.counts.succeeded, found.failed_positions, found.counts.retried_after_loss) == (3, [0, 1], 0)
    assert {error.error_class for error in found.last_errors} == {"infrastructure"}
    said = {error.item_id: error.message for error in found.last_errors}
    assert said["i0"] == "the process of the processor was ended by SIGSEGV"
    assert said["i1"].startswith("the process of the processor was ended by SIGKILL (most likely it was out of memory")
    begun = Counter(item for _, item in bench.journal.lines("process"))
    assert begun == {"i0": 2, "i1": 2, "i2": 1, "i3": 1, "i4": 1}


async def test_an_item_over_its_time_is_killed_with_what_it_started_and_its_slot_goes_on(bench: Bench) -> None:
    run = await bench.open({"do": "spawn"}, {}, concurrency=1, itemTimeoutSeconds=2, **ONCE)
    found = await bench.finish(run)
    assert (found.counts.succeeded, found.failed_positions) == (1, [0])
    (error,) = found.last_errors
    assert (error.error_class, error.message) == ("timeout", "took longer than 2 s (itemTimeoutSeconds)")
    killed = {item: pid for pid, item in bench.journal.lines("process")}["i0"]
    ((_, helper),) = bench.journal.lines("helper")
    await all_gone({killed, int(helper)})


async def test_the_event_loop_goes_on_and_keeps_its_leases_while_they_compute(bench: Bench, tmp_path: Path) -> None:
    """Were the loop blocked, no exchange could tell the store of the pause."""
    go_on = tmp_path / "go on"
    run = await bench.open({"do": "compute", "until": str(go_on)}, {}, concurrency=1)
    with bench.workers.process(run) as worker:
        await bench.journal.wait("process", 1)
        await bench.workers.store.pause(run.uid)
        await bench.workers.wait(run, lambda s: s.counts.waiting == 1, "the other item to go back")
        await bench.workers.store.resume(run.uid)
        go_on.touch()
        assert await ended(worker) == EXIT_CLOSED
    found = await bench.workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.retried_after_loss) == (2, 0)


async def test_sigterm_lets_them_finish_and_close(bench: Bench, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    slow = {"do": "compute", "until": str(go_on)}
    run = await bench.open(slow, slow, {}, {}, concurrency=2)
    with bench.workers.process(run) as worker:
        computing = {pid for pid, _ in await bench.journal.wait("process", 2)}
        worker.send_signal(signal.SIGTERM)
        await bench.workers.wait(run, lambda s: s.counts.active == 2, "the rest to go back")
        go_on.touch()
        assert await ended(worker) == EXIT_DRAINED
    found = await bench.workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.waiting + found.counts.delayed) == (2, 2)
    assert {pid for pid, _ in bench.journal.lines("close")} == computing | {worker.pid}
    await all_gone(computing)


async def test_what_outlasts_the_grace_period_is_killed_and_costs_no_attempt(bench: Bench) -> None:
    run = await bench.open({"do": "compute", "until": "/never"}, concurrency=1, **ONCE)
    with bench.workers.process(run, BATCHJOB_GRACE_SECONDS="0.2") as worker:
        ((pid, _),) = await bench.journal.wait("process", 1)
        worker.send_signal(signal.SIGTERM)
        assert await ended(worker) == EXIT_DRAINED
    await all_gone({pid})
    found = await bench.workers.snapshot(run)
    assert (found.counts.failed, found.counts.active, found.counts.retried_after_loss) == (0, 0, 0)


async def test_a_cancelled_run_kills_what_computes(bench: Bench) -> None:
    run = await bench.open({"do": "compute", "until": "/never"}, {}, concurrency=1)
    with bench.workers.process(run) as worker:
        ((pid, _),) = await bench.journal.wait("process", 1)
        await bench.workers.store.cancel(run.uid)
        assert await ended(worker) == EXIT_CLOSED
    await all_gone({pid})
    assert (await bench.workers.snapshot(run)).counts.cancelled == 2


async def test_none_outlives_a_worker_that_is_killed(bench: Bench) -> None:
    run = await bench.open({"do": "spawn"}, {"do": "compute", "until": "/never"}, {}, concurrency=3)
    with bench.workers.process(run) as worker:
        computing = {pid for pid, _ in await bench.journal.wait("process", 3)}
        ((_, helper),) = await bench.journal.wait("helper", 1)
        worker.kill()
    await all_gone(computing | {int(helper)})


async def test_sigterm_ends_one_that_is_still_opening(bench: Bench) -> None:
    run = await bench.open({}, concurrency=1, params={"open": "hang"}, **ONCE)
    with bench.workers.process(run, BATCHJOB_GRACE_SECONDS="0.2") as worker:
        ((pid, _),) = await bench.journal.wait("hang", 1)
        worker.send_signal(signal.SIGTERM)
        assert await ended(worker) == EXIT_DRAINED
    await all_gone({pid})
    found = await bench.workers.snapshot(run)
    assert (found.counts.failed, found.counts.active, found.counts.retried_after_loss) == (0, 0, 0)


async def test_one_that_dies_while_it_has_nothing_to_do_costs_nobody_anything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = await bench.open({}, concurrency=1, **ONCE)
    monkeypatch.setenv("PYTHONPATH", str(CHAOS))
    execution = ChildExecution(Computing(), run, Random(1), Settings(references_dir=tmp_path))
    context = Context(run, bench.workers.store.run(run.uid, "w"), tmp_path)

    async def attempt(position: int) -> int:
        items = [Item(position, f"i{position}", {})]
        made = Attempt(items, context.holding(items, 60))
        await execution(made)
        (outcome,) = made.outcomes
        assert isinstance(outcome, Succeeded)
        assert outcome.result is not None
        return int(json.loads(outcome.result)["pid"])

    first = await attempt(0)
    assert await attempt(1) == first
    os.kill(first, signal.SIGKILL)

    async def is_noticed() -> bool | None:
        return not execution._living or None

    await wait_for(is_noticed, "its death to be noticed")
    second = await attempt(2)
    assert second != first
    await execution.close()
    assert not lives(second)


async def test_an_open_that_fails_there_costs_the_item_an_attempt_and_says_why(bench: Bench) -> None:
    run = await bench.open({}, concurrency=1, params={"open": "fail"}, **ONCE)
    found = await bench.finish(run)
    (error,) = found.last_errors
    assert error.error_class == "infrastructure"
    assert error.message == "`open` failed in a process of the processor: RuntimeError: there is no model"
