"""The end of a run whose results left the store on the way: what is left goes too, and nobody looks for the rest."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from batchjob.api.run import EXIT_CLOSED
from batchjob.core.items import Item, Succeeded
from batchjob.errors import RunGone
from batchjob.files.files import MountedFiles
from batchjob.store import Commit
from batchjob.store.keys import run_key
from batchjob.worker import Context, Processor
from batchjob.worker import Item as WorkItem
from batchjob.worker.parts import Parts
from tests.support.sealed import sealed_to
from tests.support.workers import Workers


def spec(claim: Path) -> dict[str, Any]:
    claim.mkdir()
    source = {"items": [{"id": f"i{n}", "data": {}} for n in range(3)]}
    return {"type": "custom", "custom": {"processor": "noop"}, "source": source, **sealed_to(claim)}


async def test_the_end_of_a_large_run_looks_at_no_position_whose_result_has_left(
    workers: Workers, redis: Redis, tmp_path: Path
) -> None:
    class Enlarge(Processor):
        async def process(self, item: WorkItem, context: Context) -> Any:
            await redis.hset(run_key(context.run.uid, "meta"), "total", str(10**9))
            return {"of": item.id}

    run = await workers.open(spec(tmp_path / "claim"))
    async with asyncio.timeout(20):
        assert await workers.work(run, Enlarge()) == EXIT_CLOSED
    [part] = (await workers.store.run(run.uid, "w").sealed()).values()
    assert b'"rows":3' in part


async def test_a_run_that_is_gone_gets_no_manifest_without_its_last_results(workers: Workers, tmp_path: Path) -> None:
    run = await workers.open(spec(tmp_path / "claim"))
    store = workers.store.run(run.uid, "w")
    loader = await store.claim_load()
    assert loader
    await loader.put([[Item(0, "i0", {})]])
    await loader.finish(1, "0" * 64, None)
    [chunk] = (await store.exchange([], 1)).chunks
    await store.exchange([Commit(chunk.id, chunk.fence, [Succeeded(0, b"{}")])], 0)
    lease = await store.claim_seal()
    assert lease
    files = MountedFiles("file:///claim", "spec.results.destination", tmp_path / "claim")
    parts = await Parts.open(files, run, store, lease)
    await workers.store.delete_run(run.uid)
    with pytest.raises(RunGone):
        await parts.finish()
    assert await files.names() == []
