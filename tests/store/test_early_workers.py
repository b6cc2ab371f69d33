"""Worker processes that work while one of them still loads, and what becomes of the run when that one is killed."""

from collections.abc import Callable

import pytest

from batchjob.api.run import EXIT_CLOSED
from batchjob.core.items import RunState
from batchjob.core.progress import finished
from batchjob.core.snapshot import Snapshot
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers, ended

LEASE = {"BATCHJOB_LEASE_SECONDS": "5"}  # so long that the first keeps it on a busy machine while it lives
LEASE_MS = 5000
LINES = [f'{{"id": "i{n}", "text": "{"x" * 32}"}}\n' for n in range(12_000)]  # half is more than the loader looks ahead
NAME = "items.jsonl"
BAD = '{"id": "bad"\n'


def same(neighbours: Neighbours) -> None:
    neighbours.put_file(NAME, (BAD + "".join(LINES)).encode())


def changed(neighbours: Neighbours) -> None:
    neighbours.put_file(NAME, "".join(['{"id": "another"}\n', *LINES[1:]]).encode())


def gone(neighbours: Neighbours) -> None:
    neighbours.set_faults("https", [{"action": "status", "status": 404}])


async def life(
    workers: Workers, neighbours: Neighbours, then: Callable[[Neighbours], None]
) -> tuple[Snapshot, Snapshot]:
    """One worker loads half a file, another does those items; the file is replaced, and the first one killed."""
    neighbours.put_file(NAME, "".join(LINES).encode())
    neighbours.set_faults("https", [{"action": "stall"}])
    url = f"https://localhost:{neighbours.ports['https']}/files/{NAME}"
    source = {"uri": {"url": url, "caBundleRef": {"name": "ca", "key": "ca.crt"}}, "onBadItem": "skip"}
    custom = {"type": "custom", "custom": {"processor": "chaos"}, "source": source}
    run = await workers.open(custom | {"retry": {"maxAttempts": 1}}, lease_ms=LEASE_MS)
    workers.reference(run, "source-ca", ca__crt=neighbours.ca_certificate())
    with workers.process(run, "first", **LEASE) as first:
        await workers.wait(run, lambda s: s.counts.waiting > 0, "the load to begin")
        with workers.process(run, "second", **LEASE) as second:
            half = await workers.wait(
                run, lambda s: s.counts.succeeded > 0 and not s.counts.waiting + s.counts.active, "those items to end"
            )
            neighbours.clear_faults()  # for the next who asks
            then(neighbours)
            first.kill()
            assert await ended(second) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert len([result async for result in workers.store.results(run.uid)]) == found.counts.succeeded
    return half, found


async def test_whoever_has_nothing_to_do_goes_on_loading_and_repeats_nothing(
    workers: Workers, neighbours: Neighbours
) -> None:
    half, found = await life(workers, neighbours, same)
    assert (half.state, half.total) == (RunState.LOADING, None)
    assert (found.state, found.total, found.counts.succeeded) == (RunState.CLOSED, len(LINES), len(LINES))
    assert (found.bad_items, found.counts.retried_after_loss) == (1, 0)


@pytest.mark.parametrize(
    ("then", "reason", "said"),
    [
        (changed, "SourceChanged", "not what it was when the run began"),
        (gone, "SourceUnreachable", "it does not exist"),
    ],
)
async def test_a_source_that_cannot_be_gone_on_with_ends_the_run_and_what_is_done_stays_done(
    workers: Workers, neighbours: Neighbours, then: Callable[[Neighbours], None], reason: str, said: str
) -> None:
    half, found = await life(workers, neighbours, then)
    assert (found.state, found.reason) == (RunState.FAILED, reason)
    assert said in (found.message or "")
    assert found.counts.succeeded == finished(half.counts) == found.total
