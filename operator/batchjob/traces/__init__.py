"""Spans by OpenTelemetry, from the HTTP request over the run to each attempt; off unless an endpoint is set.

Its settings are OpenTelemetry's own variables. Its library is imported only where they name an endpoint: 6 MiB of a
process, and some 50 µs a span. Telemetry never stops what it tells of: where it cannot be, a line in the log says so.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from batchjob import log
from batchjob.core.trace_context import TraceContext, read_traceparent

if TYPE_CHECKING:
    from batchjob.traces.sdk import Tracing

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN: Final = "http/protobuf"
# What worker pods are told of the operator's own; no headers, in which a password may be.
HANDED_ON: Final = (*ENDPOINTS, "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")

Attributes = Mapping[str, str | int | float]

_tracing: "Tracing | None" = None
_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)

logger = log.get(__name__)


@contextmanager
def sending(service: str) -> Iterator[None]:
    """Spans of this process, as those of `service`, go where the environment says; at the end, those that are left."""
    global _tracing  # noqa: PLW0603 - as logs are, traces are a process's
    _tracing = _listener(service)
    try:
        yield
    finally:
        if _tracing is not None:
            _tracing.end()
        _tracing = None


def _listener(service: str) -> "Tracing | None":
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    protocol = next(filter(None, map(os.environ.get, PROTOCOLS)), SPOKEN)
    if protocol != SPOKEN:
        logger.warning("no traces: only OTLP over HTTP is spoken here", protocol=protocol, spoken=SPOKEN)
        return None
    try:
        from batchjob.traces.sdk import Tracing  # noqa: PLC0415 - see above
    except ImportError as error:
        logger.warning("no traces: pip install 'batchjob[traces]' in this image", error=str(error))
        return None
    return Tracing(os.environ.get("OTEL_SERVICE_NAME", service))


def tracing() -> "Tracing | None":
    """What tells of spans; None where nobody listens."""
    return _tracing


def of_request(traceparent: str | None) -> TraceContext | None:
    """The span of the request at hand; where nobody listens here, that of its caller, which is handed on as it came."""
    return _tracing.current() if _tracing else read_traceparent(traceparent)


def current() -> TraceContext | None:
    """The span that what happens here belongs to."""
    return _current.get()


@contextmanager
def within(context: TraceContext | None) -> Iterator[None]:
    """What happens in here belongs to a span."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def environment() -> dict[str, str]:
    """The variables of this process that make worker pods send their spans to the same place."""
    return {name: os.environ[name] for name in HANDED_ON if os.environ.get(name)}
