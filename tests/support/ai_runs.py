"""Runs of type ai-batch against the neighbours' chat server."""

import json
from typing import Any

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.snapshot import Snapshot
from batchjob.worker.processor import make_processor
from tests.support import manifests
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers


def ai_spec(
    neighbours: Neighbours, source: dict[str, Any] | int, *, model: Any = (), block: Any = (), **spec: Any
) -> Any:
    """The spec of a run over `source` (or so many items); `model` and `block` are fields of those."""
    found = manifests.ai_batch("a", manifests.inline(source) if isinstance(source, int) else source, **spec)["spec"]
    found["aiBatch"] |= dict(block)
    found["aiBatch"]["model"] |= {"baseUrl": f"http://127.0.0.1:{neighbours.ports['chat']}/v1"} | dict(model)
    if "formSchemaRef" in found["aiBatch"]:
        del found["aiBatch"]["formSchema"]
    return found


async def work(workers: Workers, run: Run) -> Snapshot:
    """One worker until the end; returns what became of the run."""
    assert await workers.work(run, make_processor("ai-batch")) == EXIT_CLOSED
    return await workers.snapshot(run)


def asked(neighbours: Neighbours, run: Run) -> list[dict[str, Any]]:
    """Rows of the chat server's ledger about this run, an answer each."""
    return [row for row in neighbours.ledger("chat") if row["item"].startswith(f"{run.uid}:")]


async def results(workers: Workers, run: Run) -> dict[str, Any]:
    """The result of each item, by id."""
    return {result.id: json.loads(result.result) async for result in workers.store.results(run.uid)}
