"""Results that leave the store while the run is open: parts at a destination, whatever happens on the way."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from batchjob.api.run import EXIT_CLOSED, EXIT_DRAINED, Run
from batchjob.core.items import Before, RunState
from batchjob.core.ranges import Ranges
from batchjob.store import SealLease
from batchjob.store.keys import run_key
from batchjob.worker import Context, Item, Processor, Sealed, parts, sealer
from tests.support import sealed as at_destination
from tests.support.manifests import ai_batch, inline
from tests.support.redis_server import RedisServer
from tests.support.sealed import sealed_to
from tests.support.store_oracle import Oracle
from tests.support.workers import Workers, wait_for

QUICK = {"retry": {"backoff": {"initialDelaySeconds": 0}, "maxAttempts": 2}}
SIZE = 100  # bytes of a result
SMALL = 20 * SIZE  # bytes of a part
NOTHING = Ranges()


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """A claim to write to."""
    (tmp_path / "claim").mkdir()
    return tmp_path / "claim"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is due every 20 results, and looked for all the time."""
    monkeypatch.setattr(sealer, "PART_BYTES", SMALL)
    monkeypatch.setattr(parts, "PART_BYTES", SMALL)
    monkeypatch.setattr(sealer, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sealer, "CLAIM_SECONDS", 0.01)


def spec(claim: Path, count: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "custom",
        "custom": {"processor": "noop"},
        "source": {"items": [{"id": f"i{n}", "data": {"n": n}} for n in range(count)]},
        **sealed_to(claim),
        **QUICK,
        **fields,
    }


class Writer(Processor):
    """Answers each item with 100 bytes; holds those from `gate` on until it is opened."""

    def __init__(self, gate: float = float("inf")) -> None:
        self.begun: list[int] = []
        self.opened = asyncio.Event()
        self._gate = gate

    async def process(self, item: Item, context: Context) -> Any:
        del context
        self.begun.append(item.data["n"])
        if item.data["n"] >= self._gate:
            await self.opened.wait()
        return {"text": "x" * (SIZE - len('{"text":""}') - len(item.id))}


def folder(claim: Path, run: Run) -> Path:
    return claim / "out" / run.folder


def files(claim: Path, run: Run) -> list[str]:
    return at_destination.files(folder(claim, run))


async def until(condition: Callable[[], bool], what: str) -> None:
    async def look() -> bool | None:
        return condition() or None

    await wait_for(look, what)


async def unsealed(redis: Redis, run: Run) -> int:
    return int(await redis.hget(run_key(run.uid, "meta"), "result_bytes") or 0)


async def until_sealed(workers: Workers, redis: Redis, run: Run, succeeded: int) -> Ranges:
    """Once so many items have succeeded and all but a part of them have left; the positions that have."""

    async def look() -> Ranges | None:
        if (await workers.snapshot(run)).counts.succeeded < succeeded or await unsealed(redis, run) >= SMALL:
            return None
        found = Ranges()
        for part in (await workers.store.run(run.uid, "test").sealed()).values():
            found |= Ranges(json.loads(part)["positions"])
        return found

    return await wait_for(look, "parts to be sealed")


def read(claim: Path, run: Run) -> list[tuple[int, dict[str, Any]]]:
    return at_destination.read_rows(folder(claim, run))


def check_all(claim: Path, run: Run, count: int) -> None:
    """Every item is there once, with its own id and result."""
    rows = sorted(read(claim, run), key=lambda row: row[0])
    assert [(position, row["id"]) for position, row in rows] == [(n, f"i{n}") for n in range(count)]
    assert {len(row["text"]) + len(row["id"]) + len('{"text":""}') for _, row in rows} == {SIZE}


@pytest.mark.usefixtures("small_parts")
async def test_results_leave_the_store_while_the_run_is_open(workers: Workers, redis: Redis, claim: Path) -> None:
    run = await workers.open(spec(claim, 400, concurrency=4))
    writer = Writer(gate=396)
    working = asyncio.create_task(workers.work(run, writer))
    sealed = await until_sealed(workers, redis, run, 396)
    assert len(sealed) > 396 - 20, "what is left is less than a part"
    assert (await workers.snapshot(run)).state is RunState.OPEN
    await Oracle(redis, run.uid).check()
    assert len(files(claim, run)) == 2 * len(await workers.store.run(run.uid, "w").sealed()), "an index beside each"
    writer.opened.set()
    assert await working == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert found.results_uri == f"file://{folder(claim, run)}/manifest.json"
    check_all(claim, run, 400)
    assert [await redis.exists(run_key(run.uid, name)) for name in ("results", "unsealed", "duty")] == [0, 0, 0]
    assert await unsealed(redis, run) == 0


async def test_a_run_that_was_sealed_on_the_way_has_what_one_has_that_is_sealed_at_the_end(
    workers: Workers, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_end = await workers.open(spec(claim, 300, concurrency=4))
    assert await workers.work(at_the_end, Writer()) == EXIT_CLOSED
    monkeypatch.setattr(sealer, "PART_BYTES", SMALL)
    monkeypatch.setattr(sealer, "LOOK_SECONDS", 0.001)
    on_the_way = await workers.open(spec(claim, 300, concurrency=4))
    writer = Writer(gate=150)
    working = asyncio.create_task(workers.work(on_the_way, writer))
    await until(lambda: bool(files(claim, on_the_way)), "a part before the end")
    writer.opened.set()
    assert await working == EXIT_CLOSED
    whole, pieces = read(claim, at_the_end), read(claim, on_the_way)
    assert [position for position, _ in whole] == list(range(300)), "in the order of the source"
    assert sorted(pieces, key=lambda row: row[0]) == whole


async def test_a_part_is_written_after_a_while_however_small_it_is(
    workers: Workers, redis: Redis, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "PART_SECONDS", 0.05)
    monkeypatch.setattr(sealer, "LOOK_SECONDS", 0.01)
    run = await workers.open(spec(claim, 5, concurrency=2))
    writer = Writer(gate=3)
    working = asyncio.create_task(workers.work(run, writer))
    await until(lambda: bool(files(claim, run)), "a part of three items at most")
    writer.opened.set()
    assert await working == EXIT_CLOSED
    check_all(claim, run, 5)
    assert await unsealed(redis, run) == 0


@pytest.mark.usefixtures("small_parts")
async def test_a_sealer_that_dies_between_file_and_record_leaves_nothing_double_and_nothing_out(
    workers: Workers, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await workers.open(spec(claim, 200, concurrency=2), lease_ms=1000)
    written = asyncio.Event()

    async def die(*_: object) -> None:
        written.set()
        await asyncio.Event().wait()

    async def say_nothing(*_: object) -> None:
        """The dead give nothing back."""

    with monkeypatch.context() as patch:
        patch.setattr(SealLease, "record", die)
        patch.setattr(SealLease, "release", say_nothing)
        dying = asyncio.create_task(workers.work(run, Writer(gate=100), name="dies", lease_seconds=1))
        await asyncio.wait_for(written.wait(), 30)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
    [orphan, index] = files(claim, run)
    assert index == orphan + ".index.json"
    assert len([found async for found in workers.store.results(run.uid)]) >= 20, "they are still here"
    assert await workers.work(run, Writer(), name="heir", lease_seconds=1) == EXIT_CLOSED
    check_all(claim, run, 200)


@pytest.mark.usefixtures("small_parts")
async def test_a_sealer_that_is_drained_hands_over_at_once(workers: Workers, redis: Redis, claim: Path) -> None:
    run = await workers.open(spec(claim, 200, concurrency=2))
    writer = Writer(gate=100)
    working = asyncio.create_task(workers.work(run, writer, grace_seconds=0))
    await until_sealed(workers, redis, run, 98)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await working == EXIT_DRAINED
    assert not await redis.exists(run_key(run.uid, "duty")), "nobody has to wait for its lease to run out"
    assert await workers.work(run, Writer(), name="heir") == EXIT_CLOSED
    check_all(claim, run, 200)


@pytest.mark.usefixtures("small_parts")
async def test_of_several_workers_one_seals_and_all_work(workers: Workers, redis: Redis, claim: Path) -> None:
    run = await workers.open(spec(claim, 400, concurrency=2, parallelism=2))
    both = Writer(gate=396), Writer(gate=396)
    working = [asyncio.create_task(workers.work(run, writer, name=f"w{n}")) for n, writer in enumerate(both)]
    await until_sealed(workers, redis, run, 396)
    for writer in both:
        writer.opened.set()
    assert await asyncio.gather(*working) == [EXIT_CLOSED, EXIT_CLOSED]
    assert all(writer.begun for writer in both)
    check_all(claim, run, 400)


@pytest.mark.usefixtures("small_parts")
async def test_a_restart_of_the_store_loses_no_part(
    workers: Workers, redis: Redis, redis_server: RedisServer, claim: Path
) -> None:
    await redis.config_set("appendfsync", "always")  # until it starts anew: it forgets nothing when it is killed
    run = await workers.open(spec(claim, 300, concurrency=2))
    writer = Writer(gate=150)
    working = asyncio.create_task(workers.work(run, writer))
    await until_sealed(workers, redis, run, 148)
    redis_server.kill()
    redis_server.start()
    await redis.connection_pool.disconnect()
    await workers.store.grant(run.uid, "secret")  # as the operator does
    writer.opened.set()
    assert await working == EXIT_CLOSED
    check_all(claim, run, 300)


@pytest.mark.usefixtures("small_parts")
async def test_a_destination_that_is_away_holds_the_run_at_its_bound_and_no_longer(
    workers: Workers, redis: Redis, claim: Path
) -> None:
    (claim / "out").write_text("a file where the folder should be")
    run = await workers.open(spec(claim, 400, concurrency=2), results_limit_bytes=2 * SMALL)
    writer = Writer()
    working = asyncio.create_task(workers.work(run, writer))

    async def look() -> bool | None:
        grant = await workers.store.run(run.uid, "test").exchange([], 1)
        counts = (await workers.snapshot(run)).counts
        return (await unsealed(redis, run) > 2 * SMALL and not counts.active and not grant.chunks) or None

    await wait_for(look, "the run to stand still")
    assert 40 < len(writer.begun) < 400
    (claim / "out").unlink()
    assert await working == EXIT_CLOSED
    check_all(claim, run, 400)


@pytest.mark.usefixtures("small_parts")
async def test_a_destination_that_stays_away_ends_a_run_that_stands_still(
    workers: Workers, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "PATIENCE_SECONDS", 0)
    (claim / "out").write_text("a file where the folder should be")
    run = await workers.open(spec(claim, 400, concurrency=2), results_limit_bytes=SMALL)
    assert await workers.work(run, Writer()) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.state, found.reason) == (RunState.FAILED, "ResultsFailed")
    assert (found.message or "").startswith(f"spec.results.destination: file://{folder(claim, run)}/part-000000-")


async def test_results_that_stay_and_are_too_large_end_the_run_and_may_be_read(workers: Workers, claim: Path) -> None:
    fields = spec(claim, 400, concurrency=2)
    del fields["results"]
    run = await workers.open(fields, results_limit_bytes=SMALL)
    assert await workers.work(run, Writer()) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.state, found.reason) == (RunState.FAILED, "ResultsTooLarge")
    assert "Set spec.results.destination" in (found.message or "")
    kept = [result async for result in workers.store.results(run.uid)]
    assert 20 < len(kept) == found.counts.succeeded < 400


@pytest.mark.usefixtures("small_parts")
async def test_results_of_a_processor_with_files_of_its_own_stay_within_the_bound(
    workers: Workers, claim: Path
) -> None:
    class Filer(Writer):
        async def seal(self, context: Context) -> Sealed | None:
            del context
            return Sealed("s3://bucket/mine.json", "a" * 64)

    run = await workers.open(spec(claim, 100))
    assert await workers.work(run, Filer()) == EXIT_CLOSED
    assert (await workers.snapshot(run)).results_uri == "s3://bucket/mine.json"
    assert len([result async for result in workers.store.results(run.uid)]) == 100
    assert files(claim, run) == []
    bounded = await workers.open(spec(claim, 400, concurrency=2), results_limit_bytes=SMALL)
    assert await workers.work(bounded, Filer()) == EXIT_CLOSED
    found = await workers.snapshot(bounded)
    assert (found.state, found.reason) == (RunState.FAILED, "ResultsTooLarge")
    assert "Let `process` return less" in (found.message or "")


# ---- the store is lost

# Of a type that has no effects outside: items may run again.
AGAIN = {"type": "ai-batch", "custom": None, "aiBatch": ai_batch("any", inline(0))["spec"]["aiBatch"]}


async def lose(workers: Workers, redis: Redis, claim: Path, before: Before, **fields: Any) -> tuple[Run, Ranges]:
    """A run of 100 items of which 60 had ended when the store lost it; and what was in parts by then."""
    run = await workers.open(spec(claim, 100, concurrency=2))
    working = asyncio.create_task(workers.work(run, Writer(gate=60)))
    sealed = await until_sealed(workers, redis, run, 60)
    await redis.flushall()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await workers.store.load_scripts()
    return await workers.open(spec(claim, 100, **fields), again=(run, before)), sealed


@pytest.mark.usefixtures("small_parts")
async def test_a_run_that_the_store_lost_repeats_only_what_was_not_sealed(
    workers: Workers, redis: Redis, claim: Path
) -> None:
    run, sealed = await lose(workers, redis, claim, Before(repeats=60), **AGAIN)
    writer = Writer()
    assert await workers.work(run, writer) == EXIT_CLOSED
    assert len(sealed) >= 40
    assert sorted(writer.begun) == [n for n in range(100) if n not in sealed]
    counts = (await workers.snapshot(run)).counts
    assert (counts.succeeded, counts.retried_after_loss) == (100, 60 - len(sealed))
    check_all(claim, run, 100)


def lacks_its_index(part: Path) -> None:
    part.with_name(part.name + ".index.json").unlink()


def is_not_what_was_written(part: Path) -> None:
    part.write_bytes(part.read_bytes().replace(b"x", b"y"))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("spoil", [lacks_its_index, is_not_what_was_written, Path.unlink])
async def test_a_part_that_nothing_vouches_for_does_not_count(
    workers: Workers, redis: Redis, claim: Path, spoil: Callable[[Path], None]
) -> None:
    run, sealed = await lose(workers, redis, claim, Before(repeats=60), **AGAIN)
    part = folder(claim, run) / files(claim, run)[0]
    rows = len(part.read_bytes().splitlines())
    spoil(part)
    writer = Writer()
    assert await workers.work(run, writer) == EXIT_CLOSED
    assert len(writer.begun) == 100 - len(sealed) + rows
    check_all(claim, run, 100)


async def check_missing(workers: Workers, claim: Path, run: Run, missing: Ranges) -> None:
    """Every item is done and counted once; the manifest lists those without a row, and the snapshot says how many."""
    rows = sorted(position for position, _ in read(claim, run))
    assert rows == [n for n in range(100) if n not in missing]
    manifest = json.loads((folder(claim, run) / "manifest.json").read_text())
    assert (manifest.get("missingRows", 0), manifest.get("missing", "")) == (len(missing), str(missing))
    found = await workers.snapshot(run)
    assert (found.state, found.counts.succeeded, found.missing_results) == (RunState.CLOSED, 100, len(missing))


@pytest.mark.usefixtures("small_parts")
async def test_items_that_are_certain_never_run_again_and_those_whose_results_were_in_no_part_are_named(
    workers: Workers, redis: Redis, claim: Path
) -> None:
    certain = Ranges("0-61")  # two more than had left the store
    run, sealed = await lose(workers, redis, claim, Before("0-61"))
    writer = Writer()
    assert await workers.work(run, writer) == EXIT_CLOSED
    assert sorted(writer.begun) == [n for n in range(100) if n not in certain | sealed]
    lost = certain - sealed
    assert lost
    await check_missing(workers, claim, run, lost)
    for forget in (False, True):  # of the manifest it hears the same
        if forget:
            await workers.store.delete_run(run.uid)
        assert len(await read_by_child(workers, claim, run, lost)) == 100 - len(lost)


@pytest.mark.usefixtures("small_parts")
async def test_a_part_that_was_spoilt_tells_still_what_must_not_run_again(
    workers: Workers, redis: Redis, claim: Path
) -> None:
    run, sealed = await lose(workers, redis, claim, Before(repeats=60))
    part = folder(claim, run) / files(claim, run)[0]
    lost = Ranges(json.loads(part.with_name(part.name + ".index.json").read_text())["parts"][0]["positions"])
    is_not_what_was_written(part)
    writer = Writer()
    assert await workers.work(run, writer) == EXIT_CLOSED
    assert sorted(writer.begun) == [n for n in range(100) if n not in sealed]
    await check_missing(workers, claim, run, lost)


async def test_results_that_were_only_in_the_store_are_counted_as_missing(workers: Workers, claim: Path) -> None:
    fields = spec(claim, 10, results=None)
    run = await workers.open(fields)
    await workers.store.delete_run(run.uid)
    run = await workers.open(fields, again=(run, Before("0-3")))
    assert await workers.work(run, Writer()) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.missing_results) == (10, 4)
    assert len([result async for result in workers.store.results(run.uid)]) == 6


@pytest.mark.usefixtures("small_parts")
async def test_parts_of_another_source_are_not_mixed_with_this_one(workers: Workers, redis: Redis, claim: Path) -> None:
    other = {"items": [{"id": f"other-{n}", "data": {"n": n}} for n in range(100)]}
    run, _ = await lose(workers, redis, claim, Before(repeats=60), source=other)
    assert await workers.work(run, Writer()) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.state, found.reason) == (RunState.FAILED, "SourceChanged")


# ---- another run reads them


async def read_by_child(workers: Workers, claim: Path, parent: Run, lost: Ranges = NOTHING) -> list[str]:
    source = {"resultsOf": {"batchJobName": "parent"}}
    child = await workers.open(spec(claim, 0, source=source, results=None), parent=parent)
    seen: list[str] = []

    class Reader(Processor):
        async def process(self, item: Item, context: Context) -> None:
            del context
            assert item.data["id"] == item.id
            seen.append(item.id)

    assert await workers.work(child, Reader()) == EXIT_CLOSED
    found = await workers.snapshot(child)
    assert found.state is RunState.CLOSED, found.message
    said = f"the store lost the results of items that BatchJob parent has done; their places in its source: {lost}"
    assert (found.bad_items, found.bad_item_messages) == (len(lost), [said] if lost else [])
    return seen


@pytest.mark.usefixtures("small_parts")
async def test_another_run_reads_results_wherever_they_are(workers: Workers, redis: Redis, claim: Path) -> None:
    parent = await workers.open(spec(claim, 100, concurrency=2))
    writer = Writer(gate=90)
    working = asyncio.create_task(workers.work(parent, writer))
    sealed = await until_sealed(workers, redis, parent, 90)
    assert 0 < len(sealed) < 90
    assert sorted(await read_by_child(workers, claim, parent)) == sorted(f"i{n}" for n in range(90)), "some are here"
    writer.opened.set()
    assert await working == EXIT_CLOSED
    everything = sorted(f"i{n}" for n in range(100))
    assert sorted(await read_by_child(workers, claim, parent)) == everything, "all are there"
    await workers.store.delete_run(parent.uid)
    assert sorted(await read_by_child(workers, claim, parent)) == everything, "the manifest tells of them"


async def refused(workers: Workers, claim: Path, parent: Run, change: Callable[[], Awaitable[None] | None]) -> str:
    done = change()
    if done is not None:
        await done
    source = {"resultsOf": {"batchJobName": "parent"}}
    child = await workers.open(spec(claim, 0, source=source, results=None), parent=parent)
    assert await workers.work(child, Writer()) == EXIT_CLOSED
    found = await workers.snapshot(child)
    assert found.state is RunState.FAILED
    return f"{found.reason}: {found.message}"


async def test_results_that_cannot_be_read_any_more_say_why(workers: Workers, claim: Path, tmp_path: Path) -> None:
    parent = await workers.open(spec(claim, 3))
    assert await workers.work(parent, Writer()) == EXIT_CLOSED
    [_, part] = [folder(claim, parent) / name for name in files(claim, parent)]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = await refused(workers, elsewhere, parent, lambda: None)
    assert said.startswith("InvalidSource: spec.source.resultsOf: file:///")
    assert "mount the same claim at the same path" in said
    said = await refused(workers, claim, parent, lambda: is_not_what_was_written(part))
    assert said.startswith("SourceUnreachable: spec.source.resultsOf: file:///")
    assert "is not what was written there" in said
    said = await refused(workers, claim, parent, part.unlink)
    assert "is not there any more: run BatchJob parent again" in said
