"""The worker on a real store: from an empty store to a closed run, whatever happens on the way."""

from pathlib import Path
from typing import Any

import pytest

from batchjob.api.run import EXIT_CLOSED
from batchjob.core.items import RunState
from batchjob.store import Store
from batchjob.worker import Context, Item, Processor
from tests.support.redis_server import RedisServer
from tests.support.workers import Workers, ended


@pytest.fixture
def workers(store: Store, redis_server: RedisServer, tmp_path: Path) -> Workers:
    return Workers(store, redis_server.url, tmp_path)


def spec(count: int, **fields: Any) -> dict[str, Any]:
    items = [{"id": f"i{n}", "data": {"n": n}} for n in range(count)]
    return {"type": "custom", "source": {"items": items}, "custom": {"processor": "noop"}, **fields}


class Double(Processor):
    async def process(self, item: Item, context: Context) -> dict[str, int]:
        context.usage("seen", 1)
        return {"double": 2 * item.data["n"]}


async def test_a_worker_loads_works_seals_and_ends_with_the_run(workers: Workers) -> None:
    run = await workers.open(spec(500))
    assert await workers.work(run, Double()) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert found.state is RunState.CLOSED
    assert (found.counts.total, found.counts.succeeded) == (500, 500)
    assert found.usage == {"seen": 500}
    results = [r async for r in workers.store.results(run.uid)]
    assert [(r.position, r.id, r.result) for r in results[:2]] == [
        (0, "i0", b'{"double":0}'),
        (1, "i1", b'{"double":2}'),
    ]
    assert len(results) == 500


async def test_a_worker_process_runs_noop(workers: Workers) -> None:
    run = await workers.open(spec(50))
    with workers.process(run) as process:
        assert await ended(process) == EXIT_CLOSED
    assert (await workers.snapshot(run)).counts.succeeded == 50
