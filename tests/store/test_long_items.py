"""Items that take long: they go on where they were, and tell how far they are."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from batchjob.api.run import EXIT_CLOSED, EXIT_DRAINED, EXIT_TEMPORARY, Run
from batchjob.core.snapshot import Snapshot
from batchjob.store.keys import run_key
from batchjob.worker import Context, Item, Processor, Retry
from tests.support.store_runs import Runs
from tests.support.workers import Workers, ended, wait_for

QUICK: Final[dict[str, Any]] = {"retry": {"backoff": {"initialDelaySeconds": 0}}}


def spec(count: int, **fields: Any) -> dict[str, Any]:
    items = [{"id": f"i{n}", "data": {}} for n in range(count)]
    return {"type": "custom", "source": {"items": items}, "custom": {"processor": "noop"}, **fields}


class Pages(Processor):
    """Reads ten pages, unless something stops it after the fourth."""

    def __init__(self, stop: Callable[[], Any] = lambda: None) -> None:
        self.read: list[int] = []
        self._stop = stop

    async def process(self, item: Item, context: Context) -> None:
        del item
        for page in range(int(await context.ledger.get() or 0), 10):
            self.read.append(page)
            await context.ledger.mark(str(page + 1).encode())
            if page == 3 and (stopped := self._stop()):
                await stopped


async def work(workers: Workers, run: Run, processor: Processor) -> Snapshot:
    assert await workers.work(run, processor) == EXIT_CLOSED
    return await workers.snapshot(run)


async def test_a_retry_goes_on_where_the_attempt_before_was(workers: Workers, runs: Runs) -> None:
    def stop() -> None:
        raise Retry("no more paper", after=0)

    run = await workers.open(spec(1, **QUICK))
    processor = Pages(stop)
    assert (await work(workers, run, processor)).counts.succeeded == 1
    assert processor.read == list(range(10))
    assert not await runs.redis.exists(run_key(run.uid, "ledger")), "the note goes with the end of its item"


async def test_what_a_drain_cuts_off_goes_on_in_the_next_pod(workers: Workers) -> None:
    def stop() -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return asyncio.Event().wait()

    run = await workers.open(spec(1, retry={"maxAttempts": 1}))
    first, second = Pages(stop), Pages()
    assert await workers.work(run, first, grace_seconds=0.1) == EXIT_DRAINED
    assert (await work(workers, run, second)).counts.succeeded == 1
    assert first.read + second.read == list(range(10))


async def test_what_was_in_the_hands_of_a_lost_worker_goes_on_with_another(workers: Workers, runs: Runs) -> None:
    async def forever() -> None:
        await runs.lose_workers(run.uid)
        await asyncio.Event().wait()

    run = await workers.open(spec(1))
    first, second = Pages(forever), Pages()
    losing = asyncio.create_task(workers.work(run, first))

    async def has_stopped() -> bool | None:
        return len(first.read) == 4 or None

    await wait_for(has_stopped, "four pages")
    losing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await losing
    await runs.lose_workers(run.uid)
    found = await work(workers, run, second)
    assert (found.counts.succeeded, first.read + second.read) == (1, list(range(10)))


async def test_each_of_several_items_in_hand_has_a_note_of_its_own(workers: Workers) -> None:
    class Halves(Processor):
        chunk_items = 3

        async def process_many(self, items: Sequence[Item], context: Context) -> list[Any]:
            notes = [await context.of(item).ledger.get() for item in items]
            for item in items:
                await context.of(item).ledger.mark(item.id.encode())
            return [Retry("again", after=0) if note is None else note.decode() for note in notes]

    run = await workers.open(spec(3, **QUICK))
    assert (await work(workers, run, Halves())).counts.succeeded == 3
    assert [result.result async for result in workers.store.results(run.uid)] == [b'"i0"', b'"i1"', b'"i2"']


async def test_a_plain_def_waits_for_the_store_in_its_thread_and_in_those_it_makes(workers: Workers) -> None:
    class Plain(Processor):
        def process(self, item: Item, context: Context) -> str:
            del item
            helper = threading.Thread(target=lambda: context.wait(context.ledger.mark(b"of a helper")))
            helper.start()
            helper.join()
            found = context.wait(context.ledger.get())
            context.wait(context.ledger.clear())
            gone = context.wait(context.ledger.get())
            return f"{found!r} {gone!r} {context.wait(context.note('n', b'agreed'))!r}"

    run = await workers.open(spec(1))
    await work(workers, run, Plain())
    assert [r.result async for r in workers.store.results(run.uid)] == [b"\"b'of a helper' None b'agreed'\""]


async def test_a_thread_that_outlived_its_limit_ends_at_its_next_call(workers: Workers) -> None:
    class Slow(Processor):
        def __init__(self) -> None:
            self.said: dict[str, str] = {}

        def process(self, item: Item, context: Context) -> None:
            try:
                while True:
                    context.wait(context.ledger.mark(b"x"))
            except TimeoutError as error:
                self.said[item.id] = str(error)
                raise

    run = await workers.open(spec(2, concurrency=1, itemTimeoutSeconds=1, retry={"maxAttempts": 1}))
    processor = Slow()

    async def both_have_ended() -> bool | None:
        return processor.said.keys() == {"i0", "i1"} or None

    while (code := await workers.work(run, processor)) == EXIT_TEMPORARY:
        pass  # a thread that gets no time counts as stuck, and the Job starts another pod
    assert (code, (await workers.snapshot(run)).counts.failed) == (EXIT_CLOSED, 2)
    await wait_for(both_have_ended, "the threads to end")  # that of a pod that is gone may still have to


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda c: c.ledger.mark(bytes(65_537)), "the note of item 'i0' has 65537 bytes, and may have 65536"),
        (lambda c: c.ledger.mark("page 3"), "the note of item 'i0': str is no bytes: encode it"),
        (lambda c: c.wait(c.ledger.get()), "`wait` is for a plain `def` of a worker"),
    ],
)
async def test_what_cannot_be_noted_says_why(workers: Workers, do: Callable[[Any], Any], said: str) -> None:
    class Wrong(Processor):
        async def process(self, item: Item, context: Context) -> None:
            del item
            await do(context)

    run = await workers.open(spec(1, retry={"maxAttempts": 1}))
    assert said in (await work(workers, run, Wrong())).last_errors[0].message


# ---- progress


async def told(workers: Workers, run: Run, item: str) -> dict[str, str]:
    """The first event of progress in which that item spoke."""

    async def look() -> dict[str, str] | None:
        events = await workers.store.events(run.uid)
        return next((event.fields for event in events if event.fields.get("item") == item), None)

    return await wait_for(look, f"{item} to tell of its progress")


async def test_a_thread_that_speaks_a_thousand_times_is_heard_while_it_goes_on(workers: Workers) -> None:
    go_on = threading.Event()

    class Busy(Processor):
        def process(self, item: Item, context: Context) -> None:
            del item
            for n in range(1000):
                context.progress(n / 1000, f"row {n}")
            go_on.wait()

    run = await workers.open(spec(2, concurrency=1))
    working = asyncio.create_task(workers.work(run, Busy()))
    fields = await told(workers, run, "i0")
    found = await workers.snapshot(run)
    go_on.set()
    assert await working == EXIT_CLOSED
    assert (fields["reached"], fields["message"], fields["active"]) == ("999", "row 999", "1")
    assert found.reached == 999
    assert not await workers.store._connection.command("EXISTS", run_key(run.uid, "owner"))


async def test_nothing_is_said_of_progress_where_no_processor_speaks_of_it(workers: Workers, runs: Runs) -> None:
    run = await workers.open(spec(20))
    await work(workers, run, Pages())
    events = await workers.store.events(run.uid)
    assert not [event for event in events if {"reached", "item"} & set(event.fields) and event.kind == "progress"]
    assert (await runs.redis.hmget(run_key(run.uid, "meta"), "reached", "partial", "said")) == [None, None, None]


async def test_a_process_of_its_own_tells_its_progress_and_goes_on_where_it_was(
    workers: Workers, tmp_path: Any
) -> None:
    go_on = tmp_path / "go on"
    journal = tmp_path / "journal"
    journal.touch()
    items = [{"id": "i0", "data": {"do": "pages", "until": str(go_on)}}]
    custom = {"processor": "own-process", "params": {"journal": str(journal)}}
    run = await workers.open({"type": "custom", "source": {"items": items}, "custom": custom, **QUICK})
    with workers.process(run) as worker:
        fields = await told(workers, run, "i0")
        go_on.touch()
        assert await ended(worker) == EXIT_CLOSED
    assert (fields["reached"], fields["message"]) == ("500", "five pages")
    assert [result.result async for result in workers.store.results(run.uid)] == [b'"read 5 pages, then the rest"']
