"""What a worker's /metrics says of the items that it did."""

import pytest

from batchjob.api.defaults import effective
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.core.items import Cancelled, Failed, Retried, Succeeded
from batchjob.metrics import REGISTRIES, Process
from batchjob.worker.tally import Tally
from tests.support.manifests import inline, noop


def tally(queue: str) -> Tally:
    known = BatchJobSpec.model_validate(noop("a", inline(1), queueName=queue)["spec"])
    return Tally(Run(uid="u", namespace="team", name="a", epoch="e", spec=known, effective=effective(known)))


def value(name: str, queue: str, **labels: str) -> float:
    return REGISTRIES[Process.WORKER].get_sample_value(f"batchjob_{name}", {"queue": queue, **labels}) or 0.0


def test_outcomes_are_told_by_queue_and_class_once() -> None:
    found = tally("told-once")
    for outcome in (
        *(Succeeded(0), Succeeded(1), Cancelled(2, "not wanted")),
        *(Retried(3, "upstream", "away", 10), Failed(4, "refused", "no")),
    ):
        found.count(outcome)
    for _ in range(2):
        found.tell()
    outcomes = ("succeeded", "cancelled", "retried", "failed")
    assert [value("items_total", "told-once", outcome=outcome) for outcome in outcomes] == [2, 1, 1, 1]
    assert value("retries_total", "told-once", error_class="upstream") == 1
    assert value("failures_total", "told-once", error_class="refused") == 1
    assert value("emails_total", "told-once", outcome="refused") == 0, "it sends no mail"


def test_what_alerts_look_for_is_shown_before_it_happens() -> None:
    tally("zeros")
    shown = REGISTRIES[Process.WORKER].get_sample_value
    for name, labels in (
        ("items_total", {"outcome": "failed"}),
        ("retries_total", {"error_class": "timeout"}),
        ("failures_total", {"error_class": "rate-limited"}),
    ):
        assert shown(f"batchjob_{name}", {"queue": "zeros", **labels}) == 0, name


def test_usage_is_told_as_tokens_mails_and_rows() -> None:
    found = tally("usage")
    found.used.update({"promptTokens": 7, "completionTokens": 2, "emailsSent": 3, "rowsExported": 100, "other": 1})
    found.tell()
    assert [value("llm_tokens_total", "usage", kind=kind) for kind in ("prompt", "completion")] == [7, 2]
    assert [value("emails_total", "usage", outcome=one) for one in ("sent", "suppressed")] == [3, 0]
    assert value("rows_exported_total", "usage") == 100


def test_durations_fall_into_the_buckets_that_they_reach() -> None:
    found = tally("buckets")
    for seconds in (0.001, 0.02, 400):
        found.times.observe(seconds)
    name = "item_duration_seconds"
    limits = ("0.001", "0.01", "0.05", "300.0", "+Inf")
    assert [value(f"{name}_bucket", "buckets", le=limit) for limit in limits] == [1, 1, 2, 2, 3]
    assert value(f"{name}_count", "buckets") == 3
    assert value(f"{name}_sum", "buckets") == pytest.approx(400.021)
