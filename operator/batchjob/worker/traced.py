"""What logs and traces say of a run and its attempts."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from batchjob import traces
from batchjob.api.run import Run
from batchjob.core.items import Failed, Retried
from batchjob.core.trace_context import TraceContext, run_context
from batchjob.worker.execution import Attempt

if TYPE_CHECKING:
    from batchjob.traces.sdk import Tracing

Around = Callable[[Attempt], AbstractContextManager[None]]

_NOTHING: Final = nullcontext()


def name_in_logs(run: Run) -> None:
    """Every line of this process says which run it is about."""
    known = {"job": f"{run.namespace}/{run.name}", "owner": run.spec.owner, "trace_id": _context(run).trace_id}
    structlog.contextvars.bind_contextvars(**{name: value for name, value in known.items() if value})


def around_attempts(run: Run) -> Around:
    """What an attempt happens in: a span of the run, where somebody listens."""
    tracing = traces.tracing()
    return partial(_attempt, tracing, run.spec.type, _context(run)) if tracing else lambda _: _NOTHING


def _context(run: Run) -> TraceContext:
    return run_context(run.uid, run.traceparent)


@contextmanager
def _attempt(tracing: "Tracing", what: str, parent: TraceContext, attempt: Attempt) -> Iterator[None]:
    with tracing.attempt(f"process {what}", parent) as tell:
        yield
        first = attempt.items[0]
        told: dict[str, str | int] = {
            "batchjob.items": len(attempt.items),
            "batchjob.item.id": first.id,
            "batchjob.item.attempt": first.attempt,
        }
        bad = [found for found in attempt.outcomes if isinstance(found, Retried | Failed)]
        if attempt.abandoned:
            tell(told, "abandoned")
        elif bad:
            told |= {"batchjob.items.failed": len(bad), "error.type": bad[0].error_class}
            tell(told, bad[0].message)
        else:
            tell(told, None)
