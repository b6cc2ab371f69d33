"""OpenTelemetry's library, as we use it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    set_tracer_provider,
)

from batchjob.core.trace_context import TraceContext
from batchjob.traces import Attributes

NAME: Final = "batchjob"
END_SECONDS: Final = 2.0  # for the last spans
QUERY: Final = "url.query"
NANOSECONDS: Final = 1_000_000_000


class Tracing:
    """Tells of spans; sends them in the background, and what is left when the process ends."""

    def __init__(self, service: str) -> None:
        release = version(NAME)
        self._numbers = _Numbers()
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service, "service.version": release}),
            id_generator=self._numbers,
            shutdown_on_exit=False,
        )
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(_NoQueries())
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(NAME, release)
        set_tracer_provider(self._provider)  # FastAPI tells of requests, and processors may tell of what they do

    def end(self) -> None:
        """Send what is left. A collector that does not answer is not waited for: a pod has to go when it is told."""
        patience = threading.Timer(END_SECONDS, self._exporter.shutdown)
        patience.daemon = True
        patience.start()
        self._provider.shutdown()
        patience.cancel()

    def current(self) -> TraceContext | None:
        """The span that goes on here, as others name it."""
        found = get_current_span().get_span_context()
        if not found.is_valid:
            return None
        return TraceContext(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled)

    @contextmanager
    def attempt(self, name: str, parent: TraceContext) -> Iterator[Callable[[Attributes, str | None], None]]:
        """What happens in here; to be told how it went, and what was wrong. What is raised passes through untold."""
        with self._tracer.start_as_current_span(
            name, self._below(parent), SpanKind.CONSUMER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield partial(_tell, span)

    def tell(
        self,
        own: TraceContext,
        parent: TraceContext | None,
        name: str,
        times: tuple[float, float],
        attributes: Attributes,
        error: str | None,
    ) -> None:
        """Tell of something that is over, and whose number others were given long ago. `times`: seconds since 1970."""
        began, ended = (int(seconds * NANOSECONDS) for seconds in times)
        self._numbers.given = own
        try:
            span = self._tracer.start_span(name, self._below(parent), start_time=began)
        finally:
            self._numbers.given = None
        _tell(span, attributes, error)
        span.end(ended)

    def _below(self, parent: TraceContext | None) -> Context:
        if parent is None:
            return Context()
        trace_id, sampled = int(parent.trace_id, 16), parent.sampled
        if sampled is None:  # then every process asks the sampler, whose word for a number is always the same
            sampled = (
                self._provider.sampler.should_sample(Context(), trace_id, NAME).decision == Decision.RECORD_AND_SAMPLE
            )
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        context = SpanContext(trace_id, int(parent.span_id, 16), is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(context), Context())


def _tell(span: Span, attributes: Attributes, error: str | None) -> None:
    span.set_attributes(attributes)
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error))


class _NoQueries(SpanProcessor):
    """What people search for, and the code that a sign-in comes back with, are nobody else's."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002 - as they call it
        """Before anybody else sees it."""
        if span.attributes and QUERY in span.attributes:
            span.set_attribute(QUERY, "REDACTED")


class _Numbers(RandomIdGenerator):
    """Numbers of spans and traces: one that was given, or any."""

    given: TraceContext | None = None

    def generate_span_id(self) -> int:
        """Of the next span."""
        return int(self.given.span_id, 16) if self.given else super().generate_span_id()

    def generate_trace_id(self) -> int:
        """Of the next span that has no parent."""
        return int(self.given.trace_id, 16) if self.given else super().generate_trace_id()
