"""Reports in tests: runs that end as the operator ends them, and the figures of those that did."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from batchjob.api.figures import Document
from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.ending import judge, plan_end
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.observed import Observed
from batchjob.controller.reports import Reports
from batchjob.core.figures import wanted_of
from batchjob.core.records import RunRecord
from batchjob.core.snapshot import Snapshot
from batchjob.store import history
from batchjob.worker.processor import make_processor
from tests.support.workers import Workers

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY = 86_400
KEPT_SECONDS = 100 * 365 * DAY  # what ended before NOW is to be there whenever the tests run


def batch_job(run: Run, created: datetime = NOW) -> BatchJob:
    """The BatchJob of a run."""
    moment = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"name": run.name, "namespace": run.namespace, "uid": run.uid, "creationTimestamp": moment}
    return BatchJob.parse({"metadata": metadata, "spec": run.spec.to_json()})


async def end(workers: Workers, run: Run, ended: datetime) -> RunRecord:
    """What the operator does when it sees that a run has ended."""
    tally = await workers.store.tally(run.uid)
    snapshot = await workers.snapshot(run)
    seen = Observed(job=batch_job(run, ended), now=ended, fresh_epoch="e", snapshot=snapshot, tally=tally)
    record = plan_end(seen, judge(snapshot)).record
    assert record is not None
    with patch.object(history, "KEPT_SECONDS", KEPT_SECONDS):
        await workers.store.history.put(record)
    return record


def reporting(workers: Workers, **block: Any) -> dict[str, Any]:
    """The spec of a report to the workers' claim; `block` adds to spec.report."""
    found = {"deliver": {"destination": {"url": f"file://{workers.claim}/reports"}}, "formats": ["json"], **block}
    volumes = {"volumes": [{"claimName": "data", "mountPath": str(workers.claim)}]}
    return {"type": "report", "report": found, "worker": volumes, "owner": "alice"}


async def prepare(workers: Workers, run: Run, known: KnownBatchJobs | None = None) -> None:
    """What the operator does before the first pod of a report starts."""
    wanted = wanted_of(batch_job(run), NOW)
    assert wanted is not None
    await Reports(workers.store, known or KnownBatchJobs()).prepare(run.uid, wanted)


async def report(workers: Workers, spec: dict[str, Any]) -> tuple[Run, Snapshot]:
    """A report from its beginning to its end."""
    run = await workers.open(spec)
    await prepare(workers, run)
    assert await workers.work(run, make_processor("report")) == EXIT_CLOSED
    return run, await workers.snapshot(run)


def files(workers: Workers, run: Run) -> dict[str, bytes]:
    """What a report wrote, by name."""
    return {path.name: path.read_bytes() for path in (workers.claim / "reports" / run.folder).iterdir()}


def document(workers: Workers, run: Run) -> Document:
    """Its document, as the format json has it."""
    return Document.model_validate_json(files(workers, run)["report.json"])
