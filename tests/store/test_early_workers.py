"""Worker processes that work while one of them still loads, and what becomes of the run when that one is killed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchjob.api.run import EXIT_CLOSED
from batchjob.core.items import RunState
from batchjob.core.progress import finished
from batchjob.core.snapshot import Snapshot
from tests.support.workers import Workers, a_file_that_never_ends, ended

LEASE = {"BATCHJOB_LEASE_SECONDS": "1.5"}
LINES = [f'{{"id": "i{n}", "text": "{"x" * 32}"}}\n' for n in range(8_000)]  # the first of two blocks has 4,096
BAD = '{"id": "bad"\n'


def same(path: Path) -> None:
    path.write_text(BAD + "".join(LINES))


def changed(path: Path) -> None:
    path.write_text("".join(['{"id": "another"}\n', *LINES[1:]]))


def gone(path: Path) -> None:
    path.unlink()


async def life(workers: Workers, folder: Path, then: Callable[[Path], None]) -> tuple[Snapshot, Snapshot]:
    """One worker loads half a file, another does those items; the file is replaced, and the first one killed."""
    data = folder / "claim" / "items.jsonl"
    data.parent.mkdir()
    source = {"uri": {"url": f"file://{data}"}, "onBadItem": "skip"}
    volumes = {"volumes": [{"claimName": "data", "mountPath": str(data.parent)}]}
    custom = {"type": "custom", "custom": {"processor": "chaos"}, "source": source, "worker": volumes}
    run = await workers.open(custom | {"retry": {"maxAttempts": 1}}, lease_ms=1500)
    with (
        a_file_that_never_ends(data, "".join(LINES).encode()),
        workers.process(run, "first", **LEASE) as first,
    ):
        await workers.wait(run, lambda s: s.counts.waiting > 0, "the load to begin")
        with workers.process(run, "second", **LEASE) as second:
            half = await workers.wait(
                run, lambda s: s.counts.succeeded > 0 and not s.counts.waiting + s.counts.active, "those items to end"
            )
            fresh = data.with_name("fresh")
            fresh.touch()
            fresh.replace(data)  # whoever reads the pipe does so still
            then(data)
            first.kill()
            assert await ended(second) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert len([result async for result in workers.store.results(run.uid)]) == found.counts.succeeded
    return half, found


async def test_whoever_has_nothing_to_do_goes_on_loading_and_repeats_nothing(workers: Workers, tmp_path: Path) -> None:
    half, found = await life(workers, tmp_path, same)
    assert (half.state, half.total) == (RunState.LOADING, None)
    assert (found.state, found.total, found.counts.succeeded) == (RunState.CLOSED, len(LINES), len(LINES))
    assert (found.bad_items, found.counts.retried_after_loss) == (1, 0)


@pytest.mark.parametrize(
    ("then", "reason", "said"),
    [(changed, "SourceChanged", "not what it was when the run began"), (gone, "SourceUnreachable", "does not exist")],
)
async def test_a_source_that_cannot_be_gone_on_with_ends_the_run_and_what_is_done_stays_done(
    workers: Workers, tmp_path: Path, then: Callable[[Path], None], reason: str, said: str
) -> None:
    half, found = await life(workers, tmp_path, then)
    assert (found.state, found.reason) == (RunState.FAILED, reason)
    assert said in (found.message or "")
    assert found.counts.succeeded == finished(half.counts) == found.total
