"""Each call of the store is spoiled once: cut before it, its reply lost, half of its reply. The end is the same.

A run is opened, loaded, worked on with results, retries and dead letters, paused and resumed, sealed and deleted, and
three more are failed, cancelled and given up, all of it through a proxy. What came of it without a fault is what has
to come of it with any.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.core.events import BEGINNING, LiveEvent, LiveType, Told
from batchjob.core.items import Before, Failed, Item, RunRules, RunState, Succeeded
from batchjob.core.queries import parse_query
from batchjob.core.rates import Rate
from batchjob.core.records import RunRecord
from batchjob.core.rows import JobRow
from batchjob.store import Commit, Store, Telling, scripts
from batchjob.worker import Context
from tests.support.chaos.chaos import Chaos
from tests.support.redis_server import RedisServer
from tests.support.store_oracle import Oracle
from tests.support.store_proxy import How, Spoil, StoreProxy
from tests.support.workers import Workers


class Careful(Chaos):
    """Agrees on a name with the other workers, and keeps a note of each item while it is in hand."""

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        agreed = await context.note("name", b"first")
        before = await context.ledger.get()
        await context.ledger.mark(b"in hand")
        answer = await super().process(item, context)
        await context.ledger.clear()
        return {**answer, "agreed": agreed.decode(), "before": before}


# Calls of a name that are spoiled: the first, the second, … In every run there are as many of each as in the clean one.
MOST: Final = 3
CREATED: Final = 1.8e9  # seconds since 1970, of a BatchJob in the index
ITEMS: Final[list[dict[str, Any]]] = [
    *[{"do": "retry", "attempts": "2"}] * 2,
    *[{"do": "fail"}] * 2,
    *[{"do": "sleep", "seconds": "0.1"}] * 4,
    *[{}] * 12,
]


async def run_once(server: RedisServer, folder: Path, spoil: Spoil | None) -> tuple[dict[str, Any], dict[str, int]]:
    """How a run ended and how often each call was made."""
    folder.mkdir()  # noqa: ASYNC240 - a test may block for a moment
    async with (
        StoreProxy(server.port, spoil) as proxy,
        Store.connect(StoreAccess(url=proxy.url), name="operator") as store,
        Redis.from_url(server.url) as redis,
    ):
        await store.load_scripts()
        workers = Workers(store, proxy.url, folder / "pods")
        destination = folder / "claim"
        destination.mkdir()
        run = await workers.open({
            "type": "custom",
            "custom": {"processor": "noop"},
            "source": {"items": [{"id": f"i{n}", "data": data} for n, data in enumerate(ITEMS)]},
            "results": {"destination": {"url": f"file://{destination}"}},
            "worker": {"volumes": [{"claimName": "data", "mountPath": str(destination)}]},
            "concurrency": 4,
        })  # fmt: skip
        await store.pause(run.uid)
        working = asyncio.create_task(workers.work(run, Careful()))
        await workers.wait(run, lambda s: s.state is not RunState.LOADING, "the source to be loaded")
        await store.resume(run.uid)
        code = await working
        found = await workers.snapshot(run)
        await Oracle(redis, run.uid).check()
        end: dict[str, Any] = {
            "code": code,
            "state": found.state,
            "counts": found.counts,
            "results": {r.id: r.result async for r in store.results(run.uid)},
            "dead": {
                d.id: (d.error_class, d.message, d.attempts) for d in await store.dead_letters(run.uid, len(ITEMS))
            },
            "files": {path.name: path.read_bytes() for path in destination.rglob("part-*")},
            "sealed on the way": await begin_again(store),
            "other ends": [await end_early(store, workers, how) for how in ("fail", "cancel", "abandon")],
        }
        worker = store.run(run.uid, "w")
        for _ in range(MOST):  # a worker waits or not, as its items happen to end
            await worker.wait(1)
        await worker.hold_rate("proof", 0.001)
        end["rate"], _ = await worker.take_rate("proof", Rate(1, 1), 1, 1)
        end["done"] = await store.finished(run.uid)
        tally = await store.tally(run.uid)
        end["tally"] = tally.retried, tally.failures, sum(tally.durations.values())
        end["kept"] = await keep(store)
        end["told"] = await tell(store)
        await redis.delete(*await redis.keys("bj:live:*"))  # it outlives the run, and the next one tells the same
        await store.revoke(run.uid)
        await store.delete_run(run.uid)
        assert await redis.keys("{bj:*") == []
        return end, dict(proxy.calls)


async def keep(store: Store) -> tuple[Any, ...]:
    """What outlives a run: a cached value, and a record that it was."""
    worker = store.run("kept", "w")
    await worker.cache_put("proof", "key", b"value", 60_000)
    now = time.time()
    record = RunRecord(
        uid="kept", namespace="test", name="kept", type="custom", queue="custom", phase="Failed", created=now, ended=now
    )
    await store.history.put(record)
    cached = await worker.cache_get("proof", "key")
    await store.caches.bound([b"bj:cache:{proof}:size"], 0)
    return cached, [found.uid async for found in store.history.read(0, now + 1)]


async def tell(store: Store) -> tuple[Any, ...]:
    """What people see of a BatchJob: its row in the index, until it is gone, and an event in its owner's stream."""
    row = JobRow(
        phase="Running", queue="custom", namespace="test", type="custom", name="told", uid="told", created=int(CREATED)
    )
    await store.index.keep({row.id: row}, "one")
    rows = (await store.index.search(parse_query("told"), CREATED + 1)).rows
    await store.index.keep({row.id: None}, "two")
    [before] = await store.live.told(["told"])
    event = LiveEvent(LiveType.STARTED, int(CREATED * 1000), 1, {"total": 1})
    [after] = await store.live.tell([Telling("told", "owner", "test.told", before, Told(seq=1), [event])])
    events = [(entry.job, entry.seq, entry.data) for entry in await store.live.read("owner", BEGINNING)]
    return rows, await store.index.mark(), after, events


async def begin_again(store: Store) -> tuple[Any, ...]:
    """A run of which a part outlived the store, with a circuit breaker, and whose results leave while it is open."""
    uid, rules = "again", RunRules(have_destination=True)
    await store.open_run(
        uid, epoch="two", max_losses=3, created_for="test/again", before=Before(repeats=1), rules=rules
    )
    loader = await store.run(uid, "loader").claim_load()
    assert loader
    await loader.keep({"part-0": b'{"positions":"0"}'}, 1)
    await loader.put([[Item(position, f"i{position}", {}) for position in (1, 2)]])
    await loader.finish(3, None, None)
    await store.set_breaker(uid, "10/10/1")
    worker = store.run(uid, "worker")
    [chunk] = (await worker.exchange([], 1)).chunks
    await worker.exchange([Commit(chunk.id, chunk.fence, [Succeeded(1, b'"done"')])], 0)
    sealer = await worker.claim_seal()
    assert sealer
    await sealer.record("part-1", b'{"positions":"1"}', await sealer.take(100))
    [chunk] = (await worker.exchange([], 1)).chunks
    await worker.exchange([Commit(chunk.id, chunk.fence, [Failed(2, "refused", "no")])], 0)
    await sealer.finish("file:///manifest.json", "0" * 64)
    found = await store.snapshot(uid)
    assert found
    left = [result.id async for result in store.results(uid)]
    parts = await worker.sealed()
    await store.delete_run(uid)
    return found.state, found.counts, found.results_uri, left, parts


async def end_early(store: Store, workers: Workers, how: str) -> tuple[Any, ...]:
    """A run that is loaded by two hands, one after the other, and ended before its time."""
    run = await workers.open({"type": "custom", "custom": {"processor": "noop"}, "source": {"items": [{"id": "i0"}]}})
    first = await store.run(run.uid, "first").claim_load()
    assert first
    await first.trouble("upstream", "not yet")
    await first.release()
    second = await store.run(run.uid, "second").claim_load()
    assert second
    await second.put([[Item(0, "i0", {}), Item(1, "i1", {})]])
    if how == "fail":
        await second.fail("InvalidSource", "line 3")
    else:
        await second.finish(2, None, None)
        await (store.cancel(run.uid) if how == "cancel" else store.abandon(run.uid, "hopeless"))
    found = await workers.snapshot(run)
    await store.revoke(run.uid)
    await store.delete_run(run.uid)
    return found.state, found.reason, found.message, found.counts


async def learn(server: RedisServer, folder: Path) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """The end of a run without a fault, and its calls by name and number."""
    end, calls = await run_once(server, folder / "clean", None)
    assert {script.name for script in scripts.ALL} <= set(calls), "a script is not tried"
    return end, [(name, n) for name, times in sorted(calls.items()) for n in range(1, times + 1)]


async def trial(server: RedisServer, folder: Path, clean: dict[str, Any], spoil: Spoil) -> None:
    """Spoil one call; AssertionError where it is not made, or the run ends otherwise than the clean one."""
    end, _ = await run_once(server, folder, spoil)
    assert spoil.hit, f"{spoil.name} was called less than {spoil.nth} times"
    assert end == clean, (
        f"{spoil}: { ({name: (end[name], clean[name]) for name in clean if end[name] != clean[name]}) }"
    )


def spoils(calls: list[tuple[str, int]], most: int) -> list[Spoil]:
    """Each of the first `most` calls of a name, in each way."""
    return [Spoil(name, n, how) for name, n in calls if n <= most for how in How]
