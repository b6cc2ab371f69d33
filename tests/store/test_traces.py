"""Workers tell of their attempts by OpenTelemetry, to a real collector on loopback."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.trace_context import run_context
from tests.store.test_worker_process import chaos
from tests.support.collector import Collector
from tests.support.ports import free_port
from tests.support.workers import Workers, ended

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


async def work(workers: Workers, run: Run, **variables: str) -> None:
    with workers.process(run, **variables) as worker:
        assert await ended(worker) == EXIT_CLOSED


async def test_each_attempt_is_a_span_below_that_of_its_run(workers: Workers, collector: Collector) -> None:
    run = await workers.open(chaos([{}, {"do": "fail"}, {}], owner="alice", concurrency=2))
    began = time.time_ns()
    await work(workers, run, **collector.variables)
    context = run_context(run.uid)
    spans = sorted(collector.spans, key=lambda span: str(span.attributes["batchjob.item.id"]))
    assert [(span.attributes["batchjob.item.id"], span.attributes["batchjob.item.attempt"]) for span in spans] == [
        ("i0", 1),
        ("i1", 1),
        ("i2", 1),
    ]
    for span in spans:
        assert (span.service, span.name, span.kind) == ("batchjob-worker", "process custom", "CONSUMER")
        assert (span.trace_id, span.parent_id) == (context.trace_id, context.span_id)
        assert began < span.began <= span.ended < time.time_ns()
    assert [span.error for span in spans] == [None, "told to fail", None]
    assert [span.attributes.get("error.type") for span in spans] == [None, "invalid-input", None]
    [line] = [line for line in workers.log(run) if line["event"] == "an item is given up"]
    assert (line["job"], line["owner"], line["trace_id"]) == (f"test/{run.name}", "alice", context.trace_id)
    assert (line["item"], line["attempt"]) == ("i1", 1)


async def test_the_trace_of_a_request_goes_on_in_the_pods_and_its_word_on_sampling_holds(
    workers: Workers, collector: Collector
) -> None:
    asked, unasked = [
        (await workers.open(chaos([{}]))).model_copy(update={"traceparent": f"00-{TRACE}-b7ad6b7169203331-{flags}"})
        for flags in ("01", "00")
    ]
    for run in (unasked, asked):
        workers.tell(run)
        await work(workers, run, **collector.variables)
    [span] = collector.spans
    assert (span.trace_id, span.parent_id) == (TRACE, run_context(asked.uid).span_id)


async def test_a_share_of_runs_is_told_with_all_of_their_attempts(workers: Workers, collector: Collector) -> None:
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    told = set[int]()
    for _ in range(6):
        run = await workers.open(chaos([{}, {}]))
        before = len(collector.spans)
        await work(workers, run, **collector.variables, **ratio)
        told.add(len(collector.spans) - before)
        # The upper half of the numbers by their last 16 digits, as OpenTelemetry counts: no run is told in parts.
        assert len(collector.spans) - before == (2 if int(run_context(run.uid).trace_id[16:], 16) < 1 << 63 else 0)
    assert told <= {0, 2}


async def test_items_that_go_together_and_processes_of_their_own_are_spans_too(
    workers: Workers, collector: Collector, tmp_path: Path
) -> None:
    params = {"journal": str(tmp_path / "journal")}
    for processor, items in (("own-process", [1, 1, 1]), ("own-process-many", [1, 2])):
        collector.spans.clear()
        run = await workers.open(chaos([{}, {}, {}]) | {"custom": {"processor": processor, "params": params}})
        await work(workers, run, **collector.variables)
        assert sorted(span.attributes["batchjob.items"] for span in collector.spans) == items
        assert {span.trace_id for span in collector.spans} == {run_context(run.uid).trace_id}
        lines = [line for line in workers.log(run) if line["event"] == "computed"]
        assert {line["trace_id"] for line in lines} == {run_context(run.uid).trace_id}, "the child's lines too"


async def test_a_collector_that_is_away_costs_no_item(workers: Workers) -> None:
    run = await workers.open(chaos([{}] * 20))
    await work(workers, run, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert (await workers.snapshot(run)).counts.succeeded == 20


def test_these_tests_see_no_variables_of_the_machine() -> None:
    assert [name for name in os.environ if name.startswith("OTEL_")] == []
