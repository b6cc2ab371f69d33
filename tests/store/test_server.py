"""The server itself: what is asked of it, what its restarts cost, and what its errors mean."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.core.items import Failed, Item, Retried, RunRules, RunState, Succeeded
from batchjob.core.rates import Rate
from batchjob.errors import ConfigurationError, NotLeading, StoreNotReady, StoreUnavailable
from batchjob.store import Store, scripts
from batchjob.store.keys import OLDEST_SCHEMA, SCHEMA, run_key
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.store_runs import Runs, commit, done
from tests.support.workers import wait_for

OF_NO_RUN = {
    *(scripts.RATE_HOLD, scripts.RATE_TAKE, scripts.CACHE_GET, scripts.CACHE_PUT, scripts.CACHE_TRIM),
    *(scripts.HISTORY_PUT, scripts.INDEX_PUT, scripts.INDEX_SEARCH, scripts.LIVE_PUT),
}


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test alone, to be killed."""
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
async def own_runs(own_server: RedisServer) -> AsyncIterator[Runs]:
    async with (
        Redis.from_url(own_server.url) as redis,
        Store.connect(StoreAccess(url=own_server.url), name="test") as store,
    ):
        await store.load_scripts()
        yield Runs(store, redis)


async def test_a_server_as_the_chart_makes_it_passes(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await store.check()
    assert caplog.records == []


async def test_the_store_tells_what_time_it_is_there(store: Store) -> None:
    assert abs((datetime.now(UTC) - await store.now()).total_seconds()) < 60


async def test_who_may_not_lead_any_more_asks_the_server_for_nothing_but_what_it_is(
    redis_server: RedisServer,
) -> None:
    leads = [True]
    async with Store.connect(StoreAccess(url=redis_server.url), name="x", may_ask=lambda: leads[0]) as store:
        await store.load_scripts()
        leads[0] = False
        await store.check()
        for call in (
            store.snapshot("u1"),
            store.delete_run("u1"),
            store.revoke("u1"),
            store.runs(),
            store.changed(0.1),
        ):
            with pytest.raises(NotLeading):
                await call
        leads[0] = True
        assert await store.snapshot("u1") is None


async def test_a_server_that_would_evict_items_is_refused(store: Store, redis: Redis) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="set it to noeviction"):
            await store.check()
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")


async def test_the_memory_of_a_server_and_its_limit_are_known(own_runs: Runs) -> None:
    used, limit = await own_runs.store.memory()
    assert (used > 100_000, limit) == (True, 0)
    await own_runs.redis.config_set("maxmemory", "64mb")
    assert (await own_runs.store.memory())[1] == 64 * 1024**2


async def test_of_several_servers_the_fullest_is_told_for_no_run_is_on_two(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def everywhere(*_: object) -> list[list[bytes]]:
        sizes = ((50, 200), (90, 100), (95, 400))
        return [[f"# Memory\r\nused_memory:{used}\r\nmaxmemory:{limit}\r\n".encode()] for used, limit in sizes]

    monkeypatch.setattr(store._connection, "everywhere", everywhere)
    assert await store.memory() == (90, 100)


async def test_a_server_that_is_too_old_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def everywhere(*_: object) -> list[list[bytes]]:
        return [[b"# Server\r\nredis_version:6.2.14\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"]]

    monkeypatch.setattr(store._connection, "everywhere", everywhere)
    with pytest.raises(ConfigurationError, match=r"Redis 6\.2\.14; 7.0 or newer is needed"):
        await store.check()


async def test_a_url_that_cannot_work_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="the store's URL"):
        Store.connect(StoreAccess(url="http://store"), name="x")


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with Store.connect(StoreAccess(url=f"redis://127.0.0.1:{free_port()}"), name="x") as store:
        for call in (store.check(), store.snapshot("u"), store.run("u", "w").exchange([], 1)):
            with pytest.raises(StoreUnavailable):
                await call


async def test_forgotten_scripts_mean_not_ready_until_they_are_loaded_again(runs: Runs, store: Store) -> None:
    uid = await runs.open()
    await runs.redis.script_flush()
    worker = store.run(uid, "w1")
    for call in (worker.exchange([], 1), store.snapshot(uid), store.pause(uid)):
        with pytest.raises(StoreNotReady):
            await call
    await store.load_scripts()
    assert len((await worker.exchange([], 4)).chunks) == 1


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (SCHEMA + 1, f"newer version \\(schema {SCHEMA + 1}\\)"),
        (OLDEST_SCHEMA - 1, f"too old for this one \\(schema {OLDEST_SCHEMA - 1}\\)"),
    ],
)
async def test_every_script_refuses_a_run_that_a_version_far_from_this_one_made(
    runs: Runs, store: Store, schema: int, said: str
) -> None:
    uid = await runs.open()
    await runs.redis.hset(run_key(uid, "meta"), "schema", schema)
    for script in (script for script in scripts.ALL if script not in OF_NO_RUN):
        with pytest.raises(ConfigurationError, match=said):
            await store._call(script, uid)
        assert (await runs.oracle(uid).check())["waiting"] == 8, script.name


async def test_a_run_that_the_version_before_made_goes_on(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    await runs.redis.hset(run_key(uid, "meta"), "schema", OLDEST_SCHEMA)
    [chunk] = await runs.claim(uid)
    assert (await store.run(uid, "w1").exchange([done(chunk)], 0)).state is RunState.SEALING
    seal = await store.run(uid, "w1").claim_seal()
    assert seal
    await seal.finish(None, None)
    found = await store.snapshot(uid)
    assert found
    assert (found.state, found.counts.succeeded) == (RunState.CLOSED, 4)


async def test_a_full_server_takes_no_more_items_but_lets_those_it_has_be_worked_off(own_runs: Runs) -> None:
    store = own_runs.store
    full, loading = await own_runs.open(items=8, chunk=8), await own_runs.open_empty()
    lease = await store.run(loading, "loader").claim_load()
    assert lease
    await own_runs.redis.config_set("maxmemory", "1mb")
    before = [await store.snapshot(uid) for uid in (full, loading)]
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        await lease.put([[Item(0, "x", {})]])
    assert [await store.snapshot(uid) for uid in (full, loading)] == before
    [chunk] = await own_runs.claim(full)
    assert (await store.run(full, "w1").exchange([done(chunk)], 0)).state is RunState.SEALING
    await own_runs.redis.config_set("maxmemory", "0")  # the oracle's MULTI asks for memory
    await own_runs.oracle(full).check()


@pytest.mark.parametrize("end", [RunState.CLOSED, RunState.CANCELLED])
async def test_a_full_server_keeps_no_step_of_what_it_has_from_being_done(own_runs: Runs, end: RunState) -> None:
    store, uid = own_runs.store, await own_runs.open(items=4, chunk=4, rules=RunRules(have_destination=True))
    given_up, loading = await own_runs.open(), await own_runs.open_empty()
    lease = await store.run(loading, "loader").claim_load()
    assert lease
    await own_runs.redis.config_set("maxmemory", "1mb")
    worker = store.run(uid, "w1")
    assert await worker.note("columns", b"[]") == b"[]"
    await worker.take_rate("rate", Rate(interval_us=1, burst=1), 1, 1)
    await worker.hold_rate("rate", 0.001)
    [chunk] = await own_runs.claim_started(uid)  # with which it says that it has begun
    await worker.exchange([commit(chunk, [Succeeded(0, b"{}")])], 0)
    await worker.exchange([commit(chunk, [Failed(1, "internal", "x"), Retried(2, "timeout", "x", 0)])], 0)
    await worker.ledger_mark(3, chunk.id, chunk.fence, b"begun")
    assert (await worker.exchange([commit(chunk)], 0)).lost == []
    await store.pause(uid)
    await store.resume(uid)
    await store.abandon(given_up, "x")
    seal = await worker.claim_seal()
    assert seal
    await seal.record("part-0", b'{"positions": "0"}', await seal.take(1000))
    await seal.renew()
    await lease.renew()
    await lease.fail("InvalidSource", "x")
    if end is RunState.CLOSED:
        [again] = await own_runs.claim(uid)
        await worker.exchange([commit(chunk, [Succeeded(3, None)]), done(again)], 0)
        await seal.finish("s3://b/r", "0" * 64)
    else:
        await store.cancel(uid)
    found = await store.snapshot(uid)
    assert found
    assert found.state is end
    await own_runs.redis.config_set("maxmemory", "0")
    await own_runs.oracle(uid).check()


async def test_a_restart_of_the_server_keeps_every_run(own_runs: Runs, own_server: RedisServer) -> None:
    await own_runs.redis.config_set("appendfsync", "always")  # everysec puts even the write off while the disk is busy
    store, uid = own_runs.store, await own_runs.open(items=12, chunk=4)
    first, second, _ = await own_runs.claim(uid, want=12)
    worker = store.run(uid, "w1")
    await worker.exchange([commit(first, [Succeeded(n, b"[%d]" % n) for n in range(4)])], 0)
    before = await store.snapshot(uid)
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        await store.snapshot(uid)
    own_server.start()
    with pytest.raises(StoreNotReady):
        await store.snapshot(uid)
    await store.load_scripts()
    assert await store.snapshot(uid) == before
    await own_runs.redis.connection_pool.disconnect()
    await own_runs.oracle(uid).check()
    assert (await worker.exchange([done(second)], 0)).lost == []
    assert [result.position async for result in store.results(uid)] == [0, 1, 2, 3]


async def test_a_server_that_forgot_its_last_second_gives_no_token_out_twice(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    remembered = {key: await runs.redis.dump(key) or b"" for key in await runs.redis.keys("*")}
    [forgotten] = await runs.claim(uid, "w1")
    await runs.redis.flushdb()
    for key, value in remembered.items():
        await runs.redis.restore(key, 0, value)
    [chunk] = await runs.claim(uid, "w2")
    assert chunk.id == forgotten.id
    assert (await store.run(uid, "w1").exchange([done(forgotten)], 0)).lost == [chunk.id]
    assert (await store.run(uid, "w2").exchange([done(chunk)], 0)).state is RunState.SEALING


async def test_a_dropped_connection_is_made_again_without_a_word(runs: Runs, store: Store) -> None:
    uid = await runs.open()
    await store.snapshot(uid)
    await runs.redis.client_kill_filter(_type="normal", skipme=True)
    assert await runs.claim(uid)


async def test_a_worker_that_waits_does_not_hold_up_others(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    worker = store.run(uid, "w1")
    [chunk] = await runs.claim(uid)
    waiting = asyncio.create_task(worker.wait(-1))
    assert (await worker.exchange([commit(chunk, release=True)], 0)).lost == []
    await waiting


async def test_who_waits_at_a_server_that_is_made_a_replica_looks_for_the_master(own_runs: Runs) -> None:
    uid = await own_runs.open_empty()
    await own_runs.store.changed(0)
    waiting = [own_runs.store.run(uid, "w1").wait(-1), own_runs.store.changed(5)]
    tasks = [asyncio.ensure_future(wait) for wait in waiting]

    async def wait_both() -> bool | None:
        return (await own_runs.redis.info("clients"))["blocked_clients"] == len(tasks) or None

    await wait_for(wait_both, "both to wait")
    await own_runs.redis.replicaof("127.0.0.1", str(free_port()))
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(found, StoreUnavailable)


async def test_a_server_that_misses_its_replicas_is_waited_for(own_runs: Runs) -> None:
    uid = await own_runs.open()
    await own_runs.redis.config_set("min-replicas-to-write", 1)
    with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
        await own_runs.claim(uid)
    await own_runs.redis.config_set("min-replicas-to-write", 0)
    assert await own_runs.claim(uid)
