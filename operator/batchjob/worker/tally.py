"""What a worker's /metrics says of its items.

Counters are moved with each exchange and not with each item: a counter's lock is dear where it is taken for each.
"""

from collections import Counter
from typing import Final

from batchjob import metrics
from batchjob.api.run import Run
from batchjob.api.status import ErrorClass
from batchjob.api.v1alpha1 import JobType
from batchjob.core.cost import TOKENS, cost_of, prices_of
from batchjob.core.items import Failed, Outcome, Retried

KINDS: Final = dict(zip(TOKENS, ("prompt", "completion"), strict=True))
MAILS: Final = {"emailsSent": "sent", "mailsSuppressed": "suppressed"}  # of the usage, with their outcomes
ROWS: Final = "rowsExported"


class Tally:
    """Of one run, which is of one queue."""

    def __init__(self, run: Run) -> None:
        self._queue = run.effective.queue
        self._sends_mail = run.spec.type is JobType.EMAIL
        self._prices = prices_of(run.spec)
        self._outcomes: Counter[type[Outcome]] = Counter()  # not told yet
        self.used: Counter[str] = Counter()  # not told yet
        self.times = metrics.ITEM_SECONDS.labels(self._queue)
        self.waits = metrics.ITEM_WAIT.labels(self._queue)
        self.rate_waits = metrics.RATE_LIMIT_WAIT.labels(self._queue)
        self._show_zeros()

    def _show_zeros(self) -> None:
        """Of what alerts look for an increase in: from nothing to 1 would be none."""
        for rare in (metrics.LEASES_LOST, metrics.RESULTS_ERRORS):
            rare.labels(self._queue)
        for outcome in ("succeeded", "failed"):
            metrics.ITEMS_ENDED.labels(self._queue, outcome)
        for error_class in (ErrorClass.TIMEOUT, ErrorClass.RATE_LIMITED):
            metrics.RETRIES.labels(self._queue, error_class)
            metrics.FAILURES.labels(self._queue, error_class)
        if self._sends_mail:
            for fate in ("sent", "refused"):
                metrics.EMAILS.labels(self._queue, fate)

    def count(self, outcome: Outcome) -> None:
        """What became of one item."""
        self._outcomes[type(outcome)] += 1
        if isinstance(outcome, Retried):
            metrics.RETRIES.labels(self._queue, outcome.error_class).inc()
        elif isinstance(outcome, Failed):
            metrics.FAILURES.labels(self._queue, outcome.error_class).inc()
            if self._sends_mail and outcome.error_class == ErrorClass.REFUSED:
                metrics.EMAILS.labels(self._queue, "refused").inc()

    def lost_lease(self) -> None:
        """Another worker took over a chunk."""
        metrics.LEASES_LOST.labels(self._queue).inc()

    def tell(self) -> None:
        """Count what finished since the last call."""
        for kind, count in self._outcomes.items():
            metrics.ITEMS_ENDED.labels(self._queue, kind.__name__.lower()).inc(count)
        self._outcomes.clear()
        if not self.used:
            return
        for family, names in ((metrics.LLM_TOKENS, KINDS), (metrics.EMAILS, MAILS)):
            for name in self.used.keys() & names.keys():
                family.labels(self._queue, names[name]).inc(self.used[name])
        if rows := self.used[ROWS]:
            metrics.ROWS_EXPORTED.labels(self._queue).inc(rows)
        if self._prices:
            cost = cost_of(self._prices, self.used) / 1_000_000
            metrics.LLM_COST.labels(self._queue, self._prices.currency).inc(cost)
        self.used.clear()
