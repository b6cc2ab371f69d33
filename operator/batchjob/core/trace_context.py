"""Where requests and runs stand in traces: the `traceparent` of W3C's Trace Context, https://www.w3.org/TR/trace-context.

Pure. The span of a run has a number that follows from its BatchJob's UID, so that every pod knows its parent without
being told; so has its trace, unless whoever made the BatchJob handed on one of their own.
"""

import hashlib
import re
from typing import Any, Final, NamedTuple

_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16
_SAMPLED: Final = 1  # of the flags
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class TraceContext(NamedTuple):
    """A span, as others name it for a parent."""

    trace_id: str  # 32 hexadecimal digits
    span_id: str  # 16
    sampled: bool | None = None  # None: nobody has decided

    @property
    def traceparent(self) -> str:
        """As a header has it."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled or False):02x}"


def read_traceparent(text: Any) -> TraceContext | None:
    """The span that a header or an annotation names; None where it names none, as the standard has it."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    if found is None or (found[1] == "00" and found[5]):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & _SAMPLED))


def run_context(uid: str, traceparent: Any = None) -> TraceContext:
    """The span of a run; `traceparent`: of the request that made its BatchJob, or whatever stands in its place."""
    parent, digest = read_traceparent(traceparent), hashlib.sha256(uid.encode()).hexdigest()
    span_id = digest[_TRACE_DIGITS : _TRACE_DIGITS + _SPAN_DIGITS]
    if parent is None:
        return TraceContext(digest[:_TRACE_DIGITS], span_id)
    return TraceContext(parent.trace_id, span_id, parent.sampled)
