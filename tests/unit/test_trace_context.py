"""The `traceparent` of W3C's Trace Context, and the span of a run."""

import uuid

import pytest

from batchjob.core.trace_context import TraceContext, read_traceparent, run_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-says", True),
    ],
)
def test_what_the_standard_allows_is_read(text: str, sampled: bool) -> None:
    assert read_traceparent(text) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_it_forbids_is_no_trace(text: object) -> None:
    assert read_traceparent(text) is None


def test_it_is_written_as_it_is_read() -> None:
    for sampled in (True, False):
        context = TraceContext(TRACE, SPAN, sampled)
        assert read_traceparent(context.traceparent) == context
    assert TraceContext(TRACE, SPAN).traceparent.endswith("-00"), "what nobody decided is not asked of others"


def test_a_run_has_a_span_of_its_own_in_the_trace_of_the_request() -> None:
    uid = str(uuid.uuid4())
    alone, asked = run_context(uid), run_context(uid, f"00-{TRACE}-{SPAN}-01")
    assert alone.sampled is None
    assert asked == TraceContext(TRACE, alone.span_id, True)
    assert asked.span_id != SPAN
    assert read_traceparent(alone.traceparent), "its numbers are ones"
    assert run_context(uid, "nonsense") == alone
    assert run_context(str(uuid.uuid4())).trace_id != alone.trace_id
