"""What is wrong with a spec or its inputs is a sentence with field, cause and way out, in the status and in the log.

Mistakes that the API server refuses are in tests/cluster/manifests/bad, and references to what does not exist are
conditions that heal (tests/cluster); here is what only a worker finds out.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from batchjob.controller.ending import judge
from batchjob.core.reasons import Reason
from batchjob.errors import ConfigurationError
from batchjob.worker import closing, load
from batchjob.worker.processor import make_processor
from tests.support.bad_cases import CASES
from tests.support.bad_specs import TOKEN, Bad
from tests.support.neighbours.client import Neighbours
from tests.support.postgres_server import PostgresServer
from tests.support.reporting import prepare
from tests.support.workers import Workers


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (load, closing):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)


async def outcome(workers: Workers, bad: Bad, spec: dict[str, Any], database: int) -> tuple[str, str, Sequence[Any]]:
    """Reason and message of the condition, and what was logged."""
    run = await workers.open(spec)
    for purpose, keys in bad.mounted(database):
        (workers.folder(run) / "references" / purpose).mkdir(parents=True, exist_ok=True)
        workers.reference(run, purpose, **keys)
    if bad.type == "report":
        await prepare(workers, run)
    with capture_logs() as logs:
        try:
            await workers.work(run, make_processor(bad.type))
        except ConfigurationError as error:  # of a pod: it logs the sentence, and ends with it as its last word
            return Reason.WORKER_MISCONFIGURED, str(error), [{"event": str(error)}]
    verdict = judge(await workers.snapshot(run))
    return verdict.reason, verdict.message, logs


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
async def test_a_mistake_is_a_sentence_and_nobody_is_shown_a_secret(
    workers: Workers, neighbours: Neighbours, postgres: PostgresServer, bad: Bad
) -> None:
    neighbours.set_faults(bad.neighbour, list(bad.faults))
    spec = bad.build(neighbours, postgres.port)
    reason, message, logs = await outcome(workers, bad, spec, postgres.port)
    assert (reason == Reason.SUCCEEDED) == bad.succeeds, message
    for words in bad.said:
        assert words in message
    assert "\n" not in message
    assert len(message) < 600
    assert TOKEN not in message
    assert TOKEN not in str(logs)
    told = " ".join(str(value) for line in logs for value in line.values())
    for words in bad.logged or bad.said:
        assert words in told


def test_there_are_sixty_of_them() -> None:
    assert len(CASES) >= 60
    assert len({bad.name for bad in CASES}) == len(CASES)
    assert {bad.type for bad in CASES} == {"ai-batch", "export", "email", "report"}
