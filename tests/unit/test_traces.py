"""When spans are told, and when not. That they arrive is shown in tests/store/test_traces.py."""

import sys

import pytest
from structlog.testing import capture_logs

from batchjob import traces
from batchjob.core.trace_context import TraceContext

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*traces.HANDED_ON, *traces.PROTOCOLS, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def test_without_an_endpoint_nobody_listens_and_the_library_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "batchjob.traces.sdk", None)
    with capture_logs() as said, traces.sending("test"):
        assert (traces.tracing(), said, traces.environment()) == (None, [], {})


def test_where_the_library_is_missing_a_line_says_so_and_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "batchjob.traces.sdk", None)
    monkeypatch.setenv(ENDPOINT, HERE)
    with capture_logs() as said, traces.sending("test"):
        assert traces.tracing() is None
    assert [(line["log_level"], line["event"]) for line in said] == [
        ("warning", "no traces: pip install 'batchjob[traces]' in this image")
    ]


def test_a_protocol_that_we_do_not_speak_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, HERE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with capture_logs() as said, traces.sending("test"):
        assert traces.tracing() is None
    assert [(line["protocol"], line["spoken"]) for line in said] == [("grpc", "http/protobuf")]


def test_the_protocol_for_traces_goes_before_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "batchjob.traces.sdk", None)
    monkeypatch.setenv(ENDPOINT, HERE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    with capture_logs() as said, traces.sending("test"):
        assert traces.tracing() is None
    assert [line["event"].partition(":")[2] for line in said] == [" pip install 'batchjob[traces]' in this image"]


def test_it_can_be_switched_off_as_the_standard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, HERE)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "True")
    with traces.sending("test"):
        assert traces.tracing() is None


def test_workers_are_told_where_spans_go_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {ENDPOINT: HERE, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    for name, value in (told | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret"}).items():
        monkeypatch.setenv(name, value)
    assert traces.environment() == told


def test_what_happens_within_a_span_belongs_to_it() -> None:
    outer, inner = TraceContext("a" * 32, "b" * 16, True), TraceContext("a" * 32, "c" * 16, True)
    with traces.within(outer):
        with traces.within(inner):
            assert traces.current() == inner
        assert traces.current() == outer
    assert traces.current() is None
