"""Worker processes and what befalls them: signals, crashes, a store that goes away, a pod that cannot work."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from batchjob.api.run import (
    EXIT_CLOSED,
    EXIT_CONFIGURATION,
    EXIT_DRAINED,
    EXIT_TEMPORARY,
    RUN_FILE,
    STORE_FILE,
    Run,
    StoreAccess,
)
from batchjob.core.items import RunState
from batchjob.errors import StoreError
from batchjob.metrics import Process
from batchjob.store import Store
from batchjob.store.keys import run_key
from batchjob.worker import patience
from batchjob_processors.noop import Noop
from tests.support.exposition import declared, shown
from tests.support.neighbours.client import Neighbours
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.store_runs import started_items
from tests.support.workers import Workers, ended, freeze_when, wait_for

LEASE = {"BATCHJOB_LEASE_SECONDS": "1.5"}
LEASE_MS = 1500


def chaos(items: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    named = [{"id": f"i{n}", "data": data} for n, data in enumerate(items)]
    return {"type": "custom", "source": {"items": named}, "custom": {"processor": "chaos"}, **fields}


def sleeping(count: int, seconds: str) -> list[dict[str, Any]]:
    return [{"do": "sleep", "seconds": seconds} for _ in range(count)]


async def test_a_killed_worker_loses_nothing_and_its_losses_are_counted(workers: Workers, redis: Redis) -> None:
    run = await workers.open(chaos(sleeping(200, "0.1"), concurrency=4, parallelism=2), lease_ms=LEASE_MS)

    async def has_begun() -> bool | None:
        return True if await started_items(redis, run.uid, "victim") else None

    with workers.process(run, "victim", **LEASE) as victim:
        await wait_for(has_begun, "the victim to have started items")  # before anybody else is there to do them all
        with workers.process(run, "other", **LEASE) as other:
            await freeze_when(victim, redis, has_begun, "the victim to have started items")
            victim.kill()
            assert await ended(other) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.failed) == (200, 0)
    # In flight: `concurrency`, and what was declared ahead at this pace: 100 ms of work, that is as many again.
    assert 1 <= found.counts.retried_after_loss <= 4 + 4
    results = [result.position async for result in workers.store.results(run.uid)]
    assert results == list(range(200))


async def test_an_item_that_kills_its_process_is_given_up_and_its_neighbours_finish(workers: Workers) -> None:
    items: list[dict[str, Any]] = [{} for _ in range(9)]
    items[4] = {"do": "crash"}
    run = await workers.open(chaos(items, concurrency=3), lease_ms=LEASE_MS)
    crashes = 0
    for n in range(6):
        with workers.process(run, f"w{n}", **LEASE) as worker:
            code = await ended(worker)
        if code == EXIT_CLOSED:
            break
        assert code == -signal.SIGSEGV
        crashes += 1
    found = await workers.snapshot(run)
    assert (found.state, crashes) == (RunState.CLOSED, 3)
    assert (found.counts.succeeded, found.counts.failed, found.failed_positions) == (8, 1, [4])
    assert found.last_errors[0].error_class == "infrastructure"


async def test_a_worker_whose_event_loop_is_blocked_for_good_ends_itself_and_its_neighbours_go_on(
    workers: Workers,
) -> None:
    items: list[dict[str, Any]] = [{"do": "block", "seconds": "600"}, *[{}] * 5]
    run = await workers.open(
        chaos(items, itemTimeoutSeconds=1, concurrency=1, retry={"maxLosses": 1}), lease_ms=LEASE_MS
    )
    with workers.process(run, "blocked", **LEASE) as blocked:
        assert await ended(blocked) == EXIT_TEMPORARY
    said = (workers.folder(run) / "termination-blocked").read_text()
    assert "has blocked the event loop for more than itemTimeoutSeconds (1)" in said
    with workers.process(run, "next", **LEASE) as worker:
        assert await ended(worker) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.failed_positions) == (5, [0])


async def test_sigterm_ends_a_process_with_143_and_costs_nothing(workers: Workers) -> None:
    run = await workers.open(chaos(sleeping(40, "0.2"), concurrency=4))
    with workers.process(run) as worker:
        await workers.wait(run, lambda s: s.counts.succeeded >= 4, "some items to finish")
        worker.send_signal(signal.SIGTERM)
        assert await ended(worker) == EXIT_DRAINED
    found = await workers.snapshot(run)
    counts = found.counts
    assert (counts.active, counts.failed, counts.retried_after_loss) == (0, 0, 0)
    assert counts.waiting + counts.delayed + counts.succeeded == 40
    with workers.process(run, "next") as worker:
        assert await ended(worker) == EXIT_CLOSED
    results = {result.id: json.loads(result.result) async for result in workers.store.results(run.uid)}
    assert Counter(answer["attempt"] for answer in results.values()) == {1: 40}


async def test_sigterm_ends_a_process_that_has_only_begun(workers: Workers) -> None:
    run = await workers.open(chaos([{}]))
    document = workers.folder(run) / RUN_FILE
    document.unlink()
    os.mkfifo(document)  # reading it waits for somebody who writes
    with workers.process(run) as worker:

        async def is_reading() -> int | None:
            assert worker.poll() is None, "the worker ended"
            with contextlib.suppress(OSError):  # ENXIO: nobody reads yet
                return os.open(document, os.O_WRONLY | os.O_NONBLOCK)
            return None

        pipe = await wait_for(is_reading, "the worker to read its run")
        worker.send_signal(signal.SIGTERM)
        assert await ended(worker) == -signal.SIGTERM  # 143, as the image's tini passes it on
        os.close(pipe)


async def test_a_restart_of_the_store_costs_no_worker_and_no_item(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--appendfsync", "always").start()  # it forgets nothing when it is killed
    try:
        async with Store.connect(StoreAccess(url=server.url), name="operator") as store:
            await store.load_scripts()
            workers = Workers(store, server.url, tmp_path / "runs")
            run = await workers.open(chaos(sleeping(60, "0.1"), concurrency=4))
            with workers.process(run) as worker:
                await workers.wait(run, lambda s: s.counts.succeeded >= 8, "some items to finish")
                server.kill()
                server.start()
                await store.grant(run.uid, "secret")  # the operator's part: users live in memory
                assert await ended(worker) == EXIT_CLOSED
            found = await workers.snapshot(run)
            assert (found.counts.succeeded, found.counts.failed) == (60, 0)
            await store.delete_run(run.uid)
    finally:
        server.kill()


async def test_sigterm_ends_a_worker_in_time_even_while_the_store_is_away(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    try:
        async with Store.connect(StoreAccess(url=server.url), name="operator") as store:
            await store.load_scripts()
            workers = Workers(store, server.url, tmp_path / "runs")
            run = await workers.open(chaos(sleeping(60, "0.1"), concurrency=4))
            with workers.process(run, BATCHJOB_GRACE_SECONDS="1") as worker:
                await workers.wait(run, lambda s: s.counts.succeeded >= 4, "some items to finish")
                server.kill()
                await logged(workers, run, worker, "waiting for the store")
                worker.send_signal(signal.SIGTERM)
                assert await ended(worker) == EXIT_DRAINED
    finally:
        server.kill()


async def half_loaded(workers: Workers, neighbours: Neighbours) -> Run:
    """A run whose source stops in the middle of its file."""
    neighbours.put_file(
        "items.jsonl", "".join(f'{{"id": "i{n}", "text": "{"x" * 32}"}}\n' for n in range(20_000)).encode()
    )
    neighbours.set_faults("https", [{"action": "stall"}])
    url = f"https://localhost:{neighbours.ports['https']}/files/items.jsonl"
    source = {"uri": {"url": url, "caBundleRef": {"name": "ca", "key": "ca.crt"}}}
    run = await workers.open({"type": "custom", "custom": {"processor": "noop"}, "source": source}, lease_ms=LEASE_MS)
    workers.reference(run, "source-ca", ca__crt=neighbours.ca_certificate())
    return run


async def test_a_loader_that_is_killed_is_taken_over(workers: Workers, neighbours: Neighbours) -> None:
    """The first loader stops in the middle of a file; the second begins anew, and no item is there twice."""
    run = await half_loaded(workers, neighbours)
    with workers.process(run, "first", **LEASE) as first:
        await workers.wait(run, lambda s: s.counts.waiting > 0, "the load to begin")
        first.kill()
    found = await workers.snapshot(run)
    assert (found.state, found.total) == (RunState.LOADING, None), "it was killed in the middle"
    neighbours.clear_faults()
    with workers.process(run, "second", **LEASE) as second:
        assert await ended(second) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.total, found.counts.succeeded) == (20_000, 20_000)


async def test_a_loader_that_is_asked_to_go_leaves_the_load_to_others_at_once(
    workers: Workers, redis: Redis, neighbours: Neighbours
) -> None:
    run = await half_loaded(workers, neighbours)
    with workers.process(run, **LEASE) as worker:
        await workers.wait(run, lambda s: s.counts.waiting > 0, "the load to begin")
        worker.send_signal(signal.SIGTERM)
        assert await ended(worker) == EXIT_DRAINED
    assert (await workers.snapshot(run)).state is RunState.LOADING
    assert not await redis.exists(run_key(run.uid, "duty"))


async def test_an_unknown_processor_is_named_with_those_there_are(workers: Workers) -> None:
    run = await workers.open(chaos([{}]) | {"custom": {"processor": "absent"}})
    with workers.process(run) as worker:
        assert await ended(worker) == EXIT_CONFIGURATION
    said = termination(workers, run)
    assert "'absent'" in said
    assert "ai-batch, chaos, email, export, noop" in said
    assert said in (workers.folder(run) / "w.log").read_text()


async def test_a_damaged_run_document_is_named(workers: Workers) -> None:
    run = await workers.open(chaos([{}]))
    (workers.folder(run) / RUN_FILE).write_text('{"uid": 7}')
    with workers.process(run) as worker:
        assert await ended(worker) == EXIT_CONFIGURATION
    assert f"{RUN_FILE} cannot be used: " in termination(workers, run)


async def test_a_worker_waits_for_the_operator_to_make_its_user(workers: Workers) -> None:
    run = await workers.open(chaos([{}]))
    await workers.store.revoke(run.uid)
    with workers.process(run) as worker:
        await logged(workers, run, worker, "waiting for the store")
        await workers.store.grant(run.uid, "secret")
        assert await ended(worker) == EXIT_CLOSED


async def test_a_new_password_reaches_a_worker_that_runs(workers: Workers) -> None:
    """A Secret that was made anew is changed in running pods too."""
    seen = workers.claim / "seen"  # until then items take long: there is work left when the old password goes
    run = await workers.open(chaos([item | {"unless": str(seen)} for item in sleeping(20, "3")]))
    with workers.process(run) as worker:
        await workers.wait(run, lambda s: s.counts.active > 0, "the worker to begin")
        await workers.store.revoke(run.uid)  # closes its connections
        await workers.store.grant(run.uid, "another secret")
        await logged(workers, run, worker, "waiting for the store")
        seen.touch()
        access = workers.access(run).model_copy(update={"password": "another secret"})
        (workers.folder(run) / STORE_FILE).write_text(access.model_dump_json())
        assert await ended(worker) == EXIT_CLOSED
    assert (await workers.snapshot(run)).counts.succeeded == 20


async def test_a_worker_of_another_version_says_so(
    workers: Workers, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may sign in, and the scripts that it needs are not there."""
    monkeypatch.setattr(patience, "SCRIPTS_SECONDS", 0.5)
    run = await workers.open(chaos([{}]))
    await redis.script_flush()
    with pytest.raises(StoreError, match="the image is of another version"):
        await workers.work(run, Noop())


async def logged(workers: Workers, run: Run, worker: subprocess.Popen[str], event: str) -> None:
    while not any(line["event"] == event for line in workers.log(run)):
        assert worker.poll() is None, "the worker ended"
        await asyncio.sleep(0.05)  # between two looks


async def test_probes_answer_while_a_worker_lives(workers: Workers) -> None:
    run = await workers.open(chaos([*sleeping(2, "0.1"), *sleeping(2, "60")], concurrency=2))
    port = free_port()

    async def all_have_begun() -> str | None:
        status, metrics = await get(port, "/metrics")
        assert status == 200
        return metrics if 'batchjob_item_wait_seconds_count{queue="custom"} 4.0' in metrics else None

    with workers.process(run, BATCHJOB_PROBE_PORT=str(port), BATCHJOB_GRACE_SECONDS="0.2") as worker:
        await workers.wait(run, lambda s: s.counts.succeeded >= 2, "some items to finish")
        assert await get(port, "/healthz") == (200, "ok\n")
        metrics = await wait_for(all_have_begun, "the next two to begin")
        assert shown(metrics) == declared(Process.WORKER)
        assert 'batchjob_items_total{outcome="succeeded",queue="custom"} 2.0' in metrics
        assert 'batchjob_item_duration_seconds_count{queue="custom"} 2.0' in metrics
        assert "_created" not in metrics
        worker.send_signal(signal.SIGTERM)
        assert await ended(worker) == EXIT_DRAINED


async def get(port: int, path: str) -> tuple[int, str]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}{path}")
        return answer.status_code, answer.text


def termination(workers: Workers, run: Run) -> str:
    return (workers.folder(run) / "termination-w").read_text()
