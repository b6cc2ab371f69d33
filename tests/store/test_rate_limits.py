"""Workers that share a rate: how fast they go together, who waits, and that waiting costs nothing."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from batchjob.api.queue import RateLimit
from batchjob.api.run import EXIT_CLOSED, EXIT_DRAINED
from batchjob.api.status import ErrorClass
from batchjob.core.items import Item
from batchjob.core.rates import Rate, key_of, queue_rates
from batchjob.worker import Context, Processor, Retry
from tests.support.workers import Workers, wait_for


class Noting(Processor):
    """Notes when each item was begun."""

    def __init__(self, do: Callable[[Item, Context], Any] = lambda *_: None) -> None:
        self.begun: list[tuple[str, float]] = []
        self._do = do

    async def process(self, item: Item, context: Context) -> dict[str, int]:
        self.begun.append((item.id, time.monotonic()))
        self._do(item, context)
        return {"attempt": context.attempt}


def mails(count: int, per_minute: int, **fields: Any) -> dict[str, Any]:
    """What runs here sends nothing: the processor is another one."""
    items = [{"id": f"i{n}", "data": {"email": "a@example.com"}} for n in range(count)]
    smtp = {"host": "mail.example.com"}
    email = {"smtp": smtp, "from": "me@example.com", "subject": "s", "text": "t", "ratePerMinute": per_minute}
    return {"type": "email", "source": {"items": items}, "email": email, **fields}


def plain(count: int, **fields: Any) -> dict[str, Any]:
    items = [{"id": f"i{n}", "data": {"n": n}} for n in range(count)]
    return {"type": "custom", "custom": {"processor": "noop"}, "source": {"items": items}, **fields}


def keyed(count: int, key: str) -> dict[str, Any]:
    return plain(count, rateLimitKey=key)


async def test_runs_that_share_a_rate_keep_it_together(workers: Workers) -> None:
    runs = [await workers.open(mails(20, 600, rateLimitKey="shared")) for _ in range(2)]
    found, asked = [Noting() for _ in runs], time.monotonic()  # the first to begin may be late to note it
    codes = await asyncio.gather(*(workers.work(run, noting) for run, noting in zip(runs, found, strict=True)))
    assert codes == [EXIT_CLOSED] * 2
    times = sorted(at for noting in found for _, at in noting.begun)
    assert len(times) == 40
    assert times[-1] - asked >= 0.1 * (40 - 10), "ten at once, then one each tenth of a second"


async def test_one_that_is_told_to_slow_down_stops_all_that_share_its_key_and_spends_no_attempt(
    workers: Workers,
) -> None:
    told_at: list[float] = []

    def refuse(*_: object) -> None:
        if not told_at:
            told_at.append(time.monotonic())
            raise Retry("429", after=2, error_class=ErrorClass.RATE_LIMITED, counts=False)

    first, second = await workers.open(keyed(1, "model")), await workers.open(keyed(3, "model"))
    other = Noting()
    working = asyncio.create_task(workers.work(first, Noting(refuse)))

    async def held() -> bool | None:
        key = key_of(first)
        assert key
        taken, _ = await workers.store.run(first.uid, "looks").take_rate(key, Rate.per_minute(None), 1, 0)
        return None if taken else True

    await wait_for(held, "the key to be held")
    assert await workers.work(second, other) == EXIT_CLOSED
    assert await working == EXIT_CLOSED
    assert min(at for _, at in other.begun) >= told_at[0] + 1.9
    results = [result.result async for result in workers.store.results(first.uid)]
    assert results == [b'{"attempt":1}']


async def test_a_worker_that_waits_for_its_rate_goes_when_asked_and_gives_back_what_it_held(workers: Workers) -> None:
    run = await workers.open(mails(8, 1, concurrency=4))
    noting = Noting()
    working = asyncio.create_task(workers.work(run, noting, grace_seconds=300))

    async def begun() -> bool | None:
        return True if noting.begun else None

    await wait_for(begun, "the first item")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(working, 30) == EXIT_DRAINED
    counts = (await workers.snapshot(run)).counts
    assert (counts.succeeded, counts.active, counts.failed, counts.retried_after_loss) == (1, 0, 0, 0)
    assert len(noting.begun) == 1


async def test_the_time_of_an_item_begins_when_it_may_start(workers: Workers) -> None:
    run = await workers.open(mails(24, 600, itemTimeoutSeconds=1, retry={"maxAttempts": 1}, concurrency=24))
    left: list[float] = []
    assert await workers.work(run, Noting(lambda _, context: left.append(context.seconds_left))) == EXIT_CLOSED
    assert (await workers.snapshot(run)).counts.succeeded == 24
    assert min(left) > 0.5, "waiting for the rate is not the item's time"


async def test_two_runs_of_a_queue_keep_its_rate_together_and_another_queue_has_its_own(workers: Workers) -> None:
    limits = [RateLimit(key="a-minute", requests=600)]
    shared = [await workers.open(plain(20, queueName="shared"), rate_limits=limits) for _ in range(2)]
    other = await workers.open(plain(10, queueName="other"), rate_limits=limits)
    found, alone, asked = [Noting() for _ in shared], Noting(), time.monotonic()
    codes = await asyncio.gather(
        *(workers.work(run, noting) for run, noting in zip([*shared, other], [*found, alone], strict=True))
    )
    assert codes == [EXIT_CLOSED] * 3
    times = sorted(at for noting in found for _, at in noting.begun)
    assert times[-1] - asked >= 0.1 * (40 - 10), "ten at once, then one each tenth of a second"
    assert max(at for _, at in alone.begun) < times[-1] - 1, "ten at once, whatever others do"


async def test_the_slower_of_the_runs_own_rate_and_the_queues_holds(workers: Workers) -> None:
    fast = [RateLimit(key="a-second", requests=1000, per_seconds=1)]
    run = await workers.open(mails(20, 600, rateLimitKey="own"), rate_limits=fast)
    noting, asked = Noting(), time.monotonic()
    assert await workers.work(run, noting) == EXIT_CLOSED
    assert noting.begun[-1][1] - asked >= 0.1 * (20 - 10)


async def test_items_that_go_together_and_are_heavier_than_the_horizon_start_all_the_same(workers: Workers) -> None:
    run = await workers.open(plain(150), rate_limits=[RateLimit(key="api", requests=1200, per_seconds=60)])

    class Together(Processor):
        chunk_items = 150

        async def process_many(self, items: Sequence[Item], _: Context) -> list[Any]:
            self.began = time.monotonic()
            return [None] * len(items)

    together, asked = Together(), time.monotonic()
    assert await workers.work(run, together) == EXIT_CLOSED
    assert together.began - asked >= (150 - 20) * 0.05, "20 at once, then one each twentieth of a second"


async def test_tokens_that_were_used_are_waited_for(workers: Workers) -> None:
    def use(item: Item, context: Context) -> None:
        context.usage("promptTokens", 10)
        last = 29
        often = 170 if item.position % 2 else 10  # nobody can tell beforehand
        context.usage("completionTokens", 5000 if item.position == last else often)

    limits = [RateLimit(key="tokens", tokens=60_000)]  # a thousand at once, then one a millisecond
    run = await workers.open(plain(30, queueName="talks", concurrency=2), rate_limits=limits)
    noting, asked = Noting(use), time.monotonic()
    assert await workers.work(run, noting) == EXIT_CLOSED
    assert noting.begun[-1][1] - asked >= 0.001 * (30 * 100 - 1000 - 2 * 180)
    [rate] = queue_rates(run)
    _, wait = await workers.store.run(run.uid, "looks").take_rate(rate.key, Rate(rate.rate.interval_us, 1), 0, 0)
    since = time.monotonic() - dict(noting.begun)["i29"]
    assert wait + since > 0.001 * (5000 - 180), "what the last one used counts too, but for what was taken before"


async def test_a_worker_hears_of_a_change_of_its_queues_rate(workers: Workers) -> None:
    slow = [RateLimit(key="slow", requests=1, per_seconds=86_400)]
    run = await workers.open(plain(4, queueName="changes"), rate_limits=slow)
    noting = Noting()
    working = asyncio.create_task(workers.work(run, noting, follow_seconds=0.05))

    async def begun() -> bool | None:
        return True if noting.begun else None

    await wait_for(begun, "the first item")
    workers.tell(run.model_copy(update={"rate_limits": []}))
    assert await working == EXIT_CLOSED
    assert len(noting.begun) == 4
