"""The worker on a real store: from an empty store to a closed run, whatever happens on the way."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from batchjob.api.run import EXIT_CLOSED, EXIT_DRAINED, EXIT_TEMPORARY, Run
from batchjob.core.items import RunState, Succeeded
from batchjob.errors import ConfigurationError, RunGone
from batchjob.store import Commit
from batchjob.worker import Cancel, Context, Fail, Item, Processor, Retry, Sealed
from tests.support.store_runs import Runs
from tests.support.workers import Workers, ended, wait_for

QUICK = {"retry": {"backoff": {"initialDelaySeconds": 0}}}


def spec(count: int, **fields: Any) -> dict[str, Any]:
    items = [{"id": f"i{n}", "data": {"n": n}} for n in range(count)]
    return {"type": "custom", "source": {"items": items}, "custom": {"processor": "noop"}, **fields}


class Recorder(Processor):
    """Does what a function says, and remembers which items were begun."""

    def __init__(self, do: Callable[[Item, Context], Any] = lambda *_: None) -> None:
        self.begun: list[str] = []
        self._do = do

    async def process(self, item: Item, context: Context) -> Any:
        self.begun.append(item.id)
        answer = self._do(item, context)
        return await answer if asyncio.iscoroutine(answer) else answer


class Gate(Recorder):
    """Holds every item until it is opened."""

    def __init__(self) -> None:
        super().__init__(lambda *_: self._pass())
        self.open_gate = asyncio.Event()

    async def _pass(self) -> None:
        await self.open_gate.wait()


async def until(condition: Callable[[], bool], what: str) -> None:
    async def look() -> bool | None:
        return condition() or None

    await wait_for(look, what)


async def test_a_worker_loads_works_seals_and_ends_with_the_run(workers: Workers) -> None:
    def double(item: Item, context: Context) -> dict[str, int]:
        context.usage("seen", 1)
        return {"double": 2 * item.data["n"]}

    run = await workers.open(spec(500))
    assert await workers.work(run, Recorder(double)) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert found.state is RunState.CLOSED
    assert (found.counts.total, found.counts.succeeded) == (500, 500)
    assert found.usage == {"seen": 500}
    results = [result async for result in workers.store.results(run.uid)]
    assert [tuple(result) for result in results] == [(n, f"i{n}", b'{"double":%d}' % (2 * n)) for n in range(500)]


async def test_several_workers_share_a_run_and_all_end_with_it(workers: Workers) -> None:
    run = await workers.open(spec(300, concurrency=4, parallelism=3))
    crew = [Recorder(lambda *_: asyncio.sleep(0.005)) for _ in range(3)]
    codes = await asyncio.gather(*(workers.work(run, one, name=f"w{n}") for n, one in enumerate(crew)))
    assert codes == [EXIT_CLOSED] * 3
    assert Counter(name for one in crew for name in one.begun) == Counter(f"i{n}" for n in range(300))
    assert all(one.begun for one in crew), "each had a share"


async def test_exceptions_decide_what_becomes_of_an_item(workers: Workers) -> None:
    def decide(item: Item, context: Context) -> Any:
        match item.data["n"]:
            case 1 if context.attempt < 3:
                raise Retry("come back", after=0)
            case 2:
                raise Fail("no good")
            case 3:
                raise Cancel("not wanted")
            case 4:
                raise ZeroDivisionError("oops")
            case n:
                return {"n": n, "attempt": context.attempt}

    run = await workers.open(spec(6, **QUICK))
    processor = Recorder(decide)
    assert await workers.work(run, processor) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.failed, found.counts.cancelled) == (3, 2, 1)
    assert {(e.item_id, e.error_class, e.message) for e in found.last_errors} == {
        ("i2", "invalid-input", "no good"),
        ("i4", "internal", "ZeroDivisionError: oops"),
    }
    assert Counter(processor.begun) == {"i0": 1, "i1": 3, "i2": 1, "i3": 1, "i4": 3, "i5": 1}
    results = {result.id: result.result async for result in workers.store.results(run.uid)}
    assert results["i1"] == b'{"n":1,"attempt":3}'


async def test_an_error_class_may_have_limits_of_its_own(workers: Workers) -> None:
    def decide(item: Item, _: Context) -> Any:
        raise TimeoutError("slow") if item.id == "i0" else ZeroDivisionError("oops")

    own = [{"errorClass": "timeout", "maxAttempts": 1}, {"errorClass": "internal", "maxAttempts": 4}]
    run = await workers.open(spec(2, retry={"perErrorClass": own, "backoff": {"initialDelaySeconds": 0}}))
    processor = Recorder(decide)
    assert await workers.work(run, processor) == EXIT_CLOSED
    assert (await workers.snapshot(run)).counts.failed == 2
    assert Counter(processor.begun) == {"i0": 1, "i1": 4}


async def test_an_item_that_takes_too_long_is_cut_off_and_counts_as_timeout(workers: Workers) -> None:
    run = await workers.open(spec(3, itemTimeoutSeconds=1, retry={"maxAttempts": 1}))
    assert await workers.work(run, Recorder(lambda item, _: asyncio.sleep(60 if item.id == "i1" else 0))) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.failed) == (2, 1)
    [error] = found.last_errors
    assert (error.item_id, error.error_class) == ("i1", "timeout")
    assert "1 s (itemTimeoutSeconds)" in error.message


class Blocking(Processor):
    """A plain `def` that blocks its thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.threads: set[int] = set()

    def process(self, item: Item, context: Context) -> str:
        del item, context
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        return "done"


async def test_a_plain_def_may_block_for_longer_than_its_lease(workers: Workers) -> None:
    run = await workers.open(spec(3, concurrency=3), lease_ms=900)
    processor = Blocking(2.0)
    assert await workers.work(run, processor, lease_seconds=0.9) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.retried_after_loss) == (3, 0)
    assert len(processor.threads) == 3
    assert threading.get_ident() not in processor.threads


async def test_a_blocked_event_loop_keeps_its_leases_while_a_rival_asks_for_them(workers: Workers) -> None:
    run = await workers.open(spec(1), lease_ms=3000)  # so long that a busy machine renews it in time
    rivals: list[Any] = []
    with ExitStack() as stack:

        def block(*_: Any) -> None:
            rivals.append(stack.enter_context(workers.process(run, "rival", BATCHJOB_LEASE_SECONDS="3")))
            time.sleep(7)  # the loop here, for more than two leases: the rival begins meanwhile

        processor = Recorder(block)
        assert await workers.work(run, processor, lease_seconds=3) == EXIT_CLOSED
        assert [await ended(rival) for rival in rivals] == [EXIT_CLOSED]
    found = await workers.snapshot(run)
    assert processor.begun == ["i0"]
    assert (found.counts.succeeded, found.counts.retried_after_loss) == (1, 0)


class Pairs(Recorder):
    """Does two items at once: an answer each, an exception for some."""

    chunk_items = 2

    async def process_many(self, items: Sequence[Item], context: Context) -> list[Any]:
        self.begun.append("+".join(item.id for item in items))
        context.usage("calls", 1)
        context.part(f"part-{items[0].position}", {"rows": len(items), "bytes": 1, "sha256": "x"})
        return [Fail("odd one") if item.data["n"] == 3 else {"n": item.data["n"]} for item in items]

    async def seal(self, context: Context) -> Sealed:
        del context
        return Sealed("s3://bucket/manifest.json", "f" * 64)


async def test_process_many_gets_whole_chunks_of_the_size_it_asks_for(workers: Workers) -> None:
    run = await workers.open(spec(7, concurrency=2))
    processor = Pairs()
    assert await workers.work(run, processor) == EXIT_CLOSED
    assert sorted(processor.begun) == ["i0+i1", "i2+i3", "i4+i5", "i6"]
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.failed) == (6, 1)
    assert found.usage == {"calls": 4}
    assert (found.results_uri, found.manifest_sha256) == ("s3://bucket/manifest.json", "f" * 64)
    parts = await workers.store.run(run.uid, "test").parts()
    assert sorted(parts) == ["part-0", "part-2", "part-4", "part-6"]


async def test_a_part_counts_for_the_items_that_succeeded_though_a_neighbour_is_tried_again(workers: Workers) -> None:
    class OddTwice(Processor):
        chunk_items = 2

        async def process_many(self, items: Sequence[Item], context: Context) -> list[Any]:
            context.part(f"of-{'+'.join(item.id for item in items)}", {"rows": 1, "bytes": 1, "sha256": "x"})
            return [Retry("again", after=0) if (item.data["n"], item.attempt) == (1, 1) else None for item in items]

    run = await workers.open(spec(2))
    assert await workers.work(run, OddTwice()) == EXIT_CLOSED
    assert sorted(await workers.store.run(run.uid, "test").parts()) == ["of-i0+i1", "of-i1"]


async def test_a_wrong_number_of_answers_is_an_error_of_every_item(workers: Workers) -> None:
    class Short(Processor):
        chunk_items = 2

        async def process_many(self, items: Sequence[Item], context: Context) -> list[Any]:
            del items, context
            return []

    run = await workers.open(spec(2, retry={"maxAttempts": 1}))
    assert await workers.work(run, Short()) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert found.counts.failed == 2
    assert "0 answers for 2 items" in found.last_errors[0].message


async def test_sigterm_gives_back_what_was_not_started_and_lets_the_rest_finish(workers: Workers) -> None:
    """Items that were fast at first: the worker has leased many ahead when they turn slow."""
    gate = Gate()
    turning_slow = Recorder(lambda item, _: gate.open_gate.wait() if item.data["n"] >= 500 else None)
    run = await workers.open(spec(1000, concurrency=4))
    working = asyncio.create_task(workers.work(run, turning_slow))
    await until(lambda: len(turning_slow.begun) == 504, "four slow items in flight")
    os.kill(os.getpid(), signal.SIGTERM)
    found = await workers.wait(run, lambda s: s.counts.active == 4, "the rest to go back")
    assert (found.counts.waiting, found.counts.delayed) == (496, 0)
    gate.open_gate.set()
    assert await working == EXIT_DRAINED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.active) == (504, 0)
    assert len(turning_slow.begun) == 504, "nothing new was started"
    await finish(workers, run, 1000)


async def test_what_outlasts_the_grace_period_goes_back_without_an_attempt_or_a_loss(workers: Workers) -> None:
    run = await workers.open(spec(6, concurrency=3, retry={"maxAttempts": 1}))
    gate = Gate()
    working = asyncio.create_task(workers.work(run, gate, grace_seconds=0.3))
    await until(lambda: len(gate.begun) == 3, "three items in flight")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await working == EXIT_DRAINED
    found = await workers.snapshot(run)
    assert (found.counts.active, found.counts.failed, found.counts.retried_after_loss) == (0, 0, 0)
    await finish(workers, run, 6)


async def test_sigterm_does_nothing_to_a_worker_that_has_ended(workers: Workers) -> None:
    run = await workers.open(spec(1))
    assert await workers.work(run, Recorder()) == EXIT_CLOSED
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await workers.snapshot(run)).state is RunState.CLOSED


async def finish(workers: Workers, run: Run, count: int) -> None:
    """Another worker does the rest, and nothing was spent."""
    attempts: list[int] = []
    rest = Recorder(lambda _, context: attempts.append(context.attempt))
    assert await workers.work(run, rest, name="successor") == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.failed, found.counts.retried_after_loss) == (count, 0, 0)
    assert set(attempts) == {1}


async def test_a_paused_run_starts_nothing_and_a_resumed_one_goes_on(workers: Workers) -> None:
    run = await workers.open(spec(40, concurrency=2))
    gate = Gate()
    working = asyncio.create_task(workers.work(run, gate))
    await until(lambda: len(gate.begun) == 2, "two items in flight")
    await workers.store.pause(run.uid)
    found = await workers.wait(run, lambda s: s.counts.active == 2, "the rest to go back")
    gate.open_gate.set()
    found = await workers.wait(run, lambda s: s.counts.active == 0, "what is in flight to finish")
    assert (found.counts.succeeded, len(gate.begun)) == (2, 2)
    await workers.store.resume(run.uid)
    assert await working == EXIT_CLOSED
    assert (await workers.snapshot(run)).counts.succeeded == 40


async def test_a_cancelled_run_cuts_off_what_is_in_flight(workers: Workers) -> None:
    run = await workers.open(spec(40, concurrency=2))
    gate = Gate()
    working = asyncio.create_task(workers.work(run, gate))
    await until(lambda: len(gate.begun) == 2, "two items in flight")
    await workers.store.cancel(run.uid)
    assert await working == EXIT_CLOSED
    assert (await workers.snapshot(run)).counts.cancelled == 40


async def test_a_worker_whose_threads_are_all_stuck_makes_room_for_another_pod(workers: Workers) -> None:
    run = await workers.open(spec(3, concurrency=1, itemTimeoutSeconds=1, **QUICK))
    assert await workers.work(run, Blocking(5.0)) == EXIT_TEMPORARY
    found = await workers.snapshot(run)
    assert (found.counts.active, found.counts.retried_after_loss) == (0, 0)


async def test_a_plain_def_that_raises_is_no_stuck_thread_whatever_it_raises(workers: Workers) -> None:
    class Raising(Processor):
        def process(self, item: Item, context: Context) -> None:
            del context
            raise [ValueError("no good"), SystemExit(3), StopIteration(), asyncio.CancelledError()][item.data["n"]]

    run = await workers.open(spec(4, concurrency=1, retry={"maxAttempts": 1}))
    with capture_logs() as logs:
        assert await workers.work(run, Raising()) == EXIT_CLOSED
    assert not [line for line in logs if "thread" in line["event"]]
    found = await workers.snapshot(run)
    assert {(e.item_id, e.error_class, e.message) for e in found.last_errors} == {
        ("i0", "internal", "ValueError: no good"),
        ("i1", "internal", "RuntimeError: the processor raised SystemExit: 3"),
        ("i2", "internal", "RuntimeError: the processor raised StopIteration"),
        ("i3", "internal", "RuntimeError: the processor raised CancelledError"),
    }


async def test_an_item_that_exits_ends_itself_and_not_the_pod(workers: Workers) -> None:
    run = await workers.open(spec(2, retry={"maxAttempts": 1}))
    assert await workers.work(run, Recorder(lambda item, _: sys.exit(0) if item.id == "i0" else None)) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.failed) == (1, 1)
    assert found.last_errors[0].message == "RuntimeError: the processor raised SystemExit: 0"


async def test_a_processor_without_what_it_needs_ends_the_worker(workers: Workers) -> None:
    class Unready(Recorder):
        async def open(self, context: Context) -> None:
            del context
            raise ConfigurationError("the Secret lacks the key TOKEN: add it")

    run = await workers.open(spec(1))
    with pytest.raises(ConfigurationError, match="TOKEN"):
        await workers.work(run, Unready())


async def test_a_worker_made_for_another_memory_of_the_run_refuses_to_work(workers: Workers) -> None:
    run = await workers.open(spec(1))
    with pytest.raises(RunGone):
        await workers.work(run.model_copy(update={"epoch": "another"}), Recorder())


async def test_a_run_that_vanishes_in_mid_work_ends_the_worker(workers: Workers) -> None:
    run = await workers.open(spec(40, concurrency=2))
    gate = Gate()
    working = asyncio.create_task(workers.work(run, gate))
    await until(lambda: len(gate.begun) == 2, "two items in flight")
    await workers.store.delete_run(run.uid)
    with pytest.raises(RunGone):
        await working


class Cut(Gate):
    """A gate that remembers which items were cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: list[str] = []

    async def process(self, item: Item, context: Context) -> Any:
        try:
            return await super().process(item, context)
        except asyncio.CancelledError:
            self.cut.append(item.id)
            raise


async def test_a_pause_cuts_off_what_outlasts_the_grace_period(workers: Workers) -> None:
    run = await workers.open(spec(2, concurrency=2))
    gate = Cut()
    working = asyncio.create_task(workers.work(run, gate, grace_seconds=0.2))
    await until(lambda: len(gate.begun) == 2, "two items in flight")
    await workers.store.pause(run.uid)
    found = await workers.wait(run, lambda s: s.counts.waiting == 2, "both to go back")
    assert sorted(gate.cut) == ["i0", "i1"]
    assert found.counts.retried_after_loss == 0
    gate.open_gate.set()
    await workers.store.resume(run.uid)
    assert await working == EXIT_CLOSED
    assert Counter(gate.begun) == {"i0": 2, "i1": 2}


async def test_a_worker_that_lost_its_lease_drops_the_item_and_goes_on(workers: Workers, runs: Runs) -> None:
    run = await workers.open(spec(3, concurrency=1))
    gate = Cut()
    working = asyncio.create_task(workers.work(run, gate))
    await until(lambda: gate.begun == ["i0"], "an item in flight")
    await runs.lose_workers(run.uid)
    rival = workers.store.run(run.uid, "rival")
    taken = (await rival.exchange([], 1)).chunks
    while [item.id for chunk in taken for item in chunk.items] != ["i0"]:  # those not started come back first
        done_ones = [Commit(c.id, c.fence, [Succeeded(i.position) for i in c.items]) for c in taken]
        taken = (await rival.exchange(done_ones, 1)).chunks
    await until(lambda: gate.cut == ["i0"], "the item to be cut off")
    await rival.exchange([Commit(taken[0].id, taken[0].fence, [Succeeded(0, b'"of the rival"')])], 0)
    assert await working == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.retried_after_loss) == (3, 1)
    assert [result.result async for result in workers.store.results(run.uid)] == [b'"of the rival"']


class Sealing(Recorder):
    """Seals as a function says."""

    def __init__(self, do: Callable[[Context], Awaitable[Sealed | None]]) -> None:
        super().__init__()
        self.seals = 0
        self._seal = do

    async def seal(self, context: Context) -> Sealed | None:
        self.seals += 1
        return await self._seal(context)


async def test_a_store_that_goes_away_during_the_seal_costs_no_attempt(workers: Workers) -> None:
    async def read_without_rights(context: Context) -> None:
        if processor.seals < 3:
            await workers.store.revoke(run.uid)  # as after a restart, until the operator makes the user again
        try:
            assert [result async for result in context.results()] == []
        finally:
            await workers.store.grant(run.uid, "secret")

    run = await workers.open(spec(1, retry={"maxAttempts": 1}))
    processor = Sealing(read_without_rights)
    assert await workers.work(run, processor) == EXIT_CLOSED
    assert processor.seals == 3
    assert (await workers.snapshot(run)).state is RunState.CLOSED


async def test_a_run_that_vanishes_during_the_seal_ends_the_worker(workers: Workers) -> None:
    async def read_what_is_gone(context: Context) -> None:
        await workers.store.delete_run(run.uid)
        assert [result async for result in context.results()] == []

    run = await workers.open(spec(1))
    processor = Sealing(read_what_is_gone)
    with pytest.raises(RunGone):
        await workers.work(run, processor)
    assert processor.seals == 1


@pytest.mark.parametrize("sealed", [Sealed("s3://bucket/manifest.json", "f" * 64), None])
async def test_results_are_written_only_where_the_processor_wrote_nothing(
    workers: Workers, tmp_path: Path, sealed: Sealed | None
) -> None:
    async def write(context: Context) -> Sealed | None:
        del context
        return sealed

    volumes = {"volumes": [{"claimName": "data", "mountPath": str(tmp_path)}]}
    destination = {"destination": {"url": f"file://{tmp_path}/out"}}
    run = await workers.open(spec(1, worker=volumes, results=destination))
    assert await workers.work(run, Sealing(write)) == EXIT_CLOSED
    folder = tmp_path / "out" / run.folder
    assert folder.exists() is (sealed is None)
    expected = sealed.uri if sealed else f"file://{folder}/manifest.json"
    assert (await workers.snapshot(run)).results_uri == expected
