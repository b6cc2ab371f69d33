"""What becomes of an attempt: outcomes from answers and exceptions, and the waits between attempts."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.status import Effective, ErrorClass
from batchjob.core.items import Cancelled, Failed, Item, Retried, Succeeded
from batchjob.core.retry import MAX_AFTER_SECONDS, Cancel, Fail, Retry, delay_ms, settle
from batchjob.errors import ResultsError, StoreUnavailable


def force(**fields: Any) -> Effective:
    values = {
        "max_attempts": 3,
        "max_losses": 3,
        "backoff_strategy": "exponential",
        "initial_delay_seconds": 2,
        "max_delay_seconds": 300,
        "jitter_percent": 20,
        "item_timeout_seconds": 300,
    }
    return Effective(**values | fields)


def own(error_class: str, **fields: Any) -> dict[str, Any]:
    """Limits of one class, the others those of `force()`."""
    return force(jitter_percent=0).model_dump() | {"error_class": error_class} | fields


def item(attempt: int = 1) -> Item:
    return Item(7, "seven", {}, attempt)


RANDOM = Random(1)

efforts = st.builds(
    force,
    backoff_strategy=st.sampled_from(["exponential", "fixed"]),
    initial_delay_seconds=st.integers(0, 3600),
    max_delay_seconds=st.integers(1, 86400),
    jitter_percent=st.integers(0, 100),
)


@given(efforts, st.integers(1, 100), st.randoms(use_true_random=False))
def test_a_wait_is_never_longer_than_the_limit_and_jitter_only_shortens(
    effort: Effective, attempt: int, random: Random
) -> None:
    growth = 2 ** (attempt - 1) if effort.backoff_strategy == "exponential" else 1
    base = min(effort.initial_delay_seconds * growth, effort.max_delay_seconds) * 1000
    wait = delay_ms(effort, attempt, random)
    assert base * (100 - effort.jitter_percent) / 100 - 1 <= wait <= base


def test_waits_double_until_the_limit_without_jitter() -> None:
    effort = force(jitter_percent=0, max_delay_seconds=10)
    assert [delay_ms(effort, attempt, RANDOM) for attempt in (1, 2, 3, 4)] == [2000, 4000, 8000, 10000]
    fixed = force(jitter_percent=0, backoff_strategy="fixed")
    assert [delay_ms(fixed, attempt, RANDOM) for attempt in (1, 5)] == [2000, 2000]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (None, Succeeded(7)),
        ({"a": [1, None]}, Succeeded(7, b'{"a":[1,null]}')),
        ("text", Succeeded(7, b'"text"')),
        (Succeeded(7, b"1"), Succeeded(7, b"1")),
        (Fail("no such user"), Failed(7, ErrorClass.INVALID_INPUT, "no such user")),
        (Fail("550", ErrorClass.REFUSED), Failed(7, ErrorClass.REFUSED, "550")),
        (Cancel("not needed"), Cancelled(7, "not needed")),
    ],
)
def test_a_final_answer_becomes_its_outcome(answer: Any, outcome: Any) -> None:
    assert settle(item(), answer, force(), RANDOM) == outcome


@pytest.mark.parametrize(
    ("error", "error_class", "message"),
    [
        (Retry("503"), ErrorClass.UPSTREAM, "503"),
        (TimeoutError("took longer than 5 s"), ErrorClass.TIMEOUT, "took longer than 5 s"),
        (ResultsError("s3://b/k cannot be reached"), ErrorClass.UPSTREAM, "s3://b/k cannot be reached"),
        (StoreUnavailable("away"), ErrorClass.INFRASTRUCTURE, "away"),
        (KeyError("email"), ErrorClass.INTERNAL, "KeyError: 'email'"),
        (ValueError(), ErrorClass.INTERNAL, "ValueError"),
    ],
)
def test_an_error_is_tried_again_until_the_attempts_are_spent(
    error: Exception, error_class: ErrorClass, message: str
) -> None:
    for attempt in (1, 2):
        outcome = settle(item(attempt), error, force(), RANDOM)
        assert isinstance(outcome, Retried)
        assert (outcome.error_class, outcome.message, outcome.counts) == (error_class, message, True)
    assert settle(item(3), error, force(), RANDOM) == Failed(7, error_class, message)


def test_a_wait_that_is_no_number_is_an_error_of_the_processor_and_named() -> None:
    outcome = settle(item(3), Retry("later", after="3"), force(), RANDOM)  # type: ignore[arg-type]  # as users do
    assert isinstance(outcome, Failed)
    assert outcome.error_class == ErrorClass.INTERNAL
    assert "Retry's `after` must be a number of seconds, not '3'" in outcome.message


def test_a_result_that_is_no_json_is_an_error_of_the_processor() -> None:
    outcome = settle(item(3), {"when": object()}, force(), RANDOM)
    assert isinstance(outcome, Failed)
    assert outcome.error_class == ErrorClass.INTERNAL
    assert "JSON" in outcome.message


@given(st.floats(0, 10_000), st.integers(1, 200), st.randoms(use_true_random=False))
def test_a_wait_that_was_asked_for_is_kept_and_an_uncounted_retry_never_ends_an_item(
    after: float, attempt: int, random: Random
) -> None:
    outcome = settle(item(attempt), Retry("slow down", after, counts=False), force(), random)
    assert isinstance(outcome, Retried)
    assert not outcome.counts
    assert after * 1000 - 1 <= outcome.delay_ms <= max(after * 1200 + 1, 300_000)


@given(efforts, st.integers(1, 100), st.floats(-1, 100), st.randoms(use_true_random=False))
def test_a_retry_that_spends_no_attempt_waits_at_least_the_back_off_and_a_second(
    effort: Effective, attempt: int, after: float, random: Random
) -> None:
    for answer in (Retry("slow down", after, counts=False), Retried(7, "upstream", "busy", 0, counts=False)):
        outcome = settle(item(attempt), answer, effort, random)
        assert isinstance(outcome, Retried)
        growth = 2 ** (attempt - 1) if effort.backoff_strategy == "exponential" else 1
        backoff = min(effort.initial_delay_seconds * growth, effort.max_delay_seconds) * 1000
        assert outcome.delay_ms >= max(backoff * (100 - effort.jitter_percent) / 100 - 1, 1000)


def test_a_retry_that_spends_an_attempt_may_come_back_at_once() -> None:
    assert settle(item(), Retry("now", 0), force(), RANDOM) == Retried(7, ErrorClass.UPSTREAM, "now", 0)


def test_a_wait_of_a_year_is_cut_to_a_day() -> None:
    outcome = settle(item(), Retry("later", 3e7), force(jitter_percent=0), RANDOM)
    assert isinstance(outcome, Retried)
    assert outcome.delay_ms == MAX_AFTER_SECONDS * 1000


def test_an_outcome_to_retry_obeys_the_limit_of_attempts_too() -> None:
    wish = Retried(7, "upstream", "busy", 500)
    again = settle(item(1), wish, force(jitter_percent=0), RANDOM)
    assert again == Retried(7, "upstream", "busy", 500)
    assert settle(item(3), wish, force(), RANDOM) == Failed(7, "upstream", "busy")


@pytest.mark.parametrize(
    "answer",
    [
        Succeeded(7),
        Succeeded(0, b"\xff"),
        object(),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_of_the_attempt_and_not_of_the_worker(answer: object) -> None:
    outcome = settle(Item(0, "a", {}), answer, force(), Random(1))
    assert isinstance(outcome, Retried)
    assert (outcome.position, outcome.error_class) == (0, ErrorClass.INTERNAL)


@pytest.mark.parametrize("wrong", [404, None, "a class of one's own, in as many words as fit on a line of this page"])
def test_a_class_that_is_none_costs_the_class_and_not_what_the_processor_decided(wrong: Any) -> None:
    hint = f" (its error_class {wrong!r:.40} is none: use one of ErrorClass)"
    for answer in (Fail("no such user", wrong), Failed(7, wrong, "no such user")):
        assert settle(item(), answer, force(), RANDOM) == Failed(7, ErrorClass.INTERNAL, "no such user" + hint)
    for again in (Retry("busy", 9, wrong, counts=False), Retried(7, wrong, "busy", 9000, counts=False)):
        outcome = settle(item(9), again, force(jitter_percent=0, initial_delay_seconds=0), RANDOM)
        assert outcome == Retried(7, ErrorClass.INTERNAL, "busy" + hint, 9000, counts=False)
    assert settle(item(3), Retry("busy", None, wrong), force(), RANDOM) == Failed(7, ErrorClass.INTERNAL, "busy" + hint)


def test_a_class_may_be_named_by_its_text() -> None:
    assert settle(item(), Fail("550", "refused"), force(), RANDOM) == Failed(7, ErrorClass.REFUSED, "550")  # type: ignore[arg-type]  # what user code may do


def test_a_result_that_is_no_bytes_is_encoded() -> None:
    assert settle(Item(0, "a", {}), Succeeded(0, {"n": 1}), force(), Random(1)) == Succeeded(0, b'{"n":1}')  # type: ignore[arg-type]  # what user code may do


def test_only_a_server_that_says_when_to_come_back_holds_the_rate_and_for_as_long_as_it_says() -> None:
    def hold_ms(answer: Retry, attempt: int = 6) -> int:
        outcome = settle(item(attempt=attempt), answer, force(max_attempts=10), RANDOM)
        assert isinstance(outcome, Retried)
        return outcome.hold_ms

    limited = ErrorClass.RATE_LIMITED
    assert 1000 <= hold_ms(Retry("429", 1, limited, counts=False)) <= 1200, "not for the back-off of the run"
    assert hold_ms(Retry("429", None, limited, counts=False)) == 0
    assert hold_ms(Retry("429", after=1, error_class=ErrorClass.RATE_LIMITED)) == 0
    assert hold_ms(Retry("busy", after=1, counts=False)) == 0


PER_CLASS = force(
    jitter_percent=0,
    per_error_class=[
        own("refused", max_attempts=1),
        own("upstream", max_attempts=9, backoff_strategy="fixed", initial_delay_seconds=60),
        own("rate-limited", initial_delay_seconds=100, max_delay_seconds=150),
    ],
)


@pytest.mark.parametrize(
    ("attempt", "answer", "outcome"),
    [
        (1, Retry("a", error_class=ErrorClass.REFUSED), Failed(7, "refused", "a")),
        (3, Retry("b"), Retried(7, "upstream", "b", 60_000)),
        (9, Retry("b"), Failed(7, "upstream", "b")),
        (3, TimeoutError("c"), Failed(7, "timeout", "c")),
        (2, TimeoutError("c"), Retried(7, "timeout", "c", 4_000)),
        (
            9,
            Retry("d", 1, ErrorClass.RATE_LIMITED, counts=False),
            Retried(7, "rate-limited", "d", 150_000, False, 1000),
        ),
        (1, Retried(7, "refused", "e", 5), Failed(7, "refused", "e")),
        (1, Fail("f", ErrorClass.UPSTREAM), Failed(7, "upstream", "f")),
    ],
)
def test_after_an_error_of_a_class_with_limits_of_its_own_those_hold_and_fail_stays_final(
    attempt: int, answer: Any, outcome: Any
) -> None:
    assert settle(item(attempt), answer, PER_CLASS, RANDOM) == outcome


@pytest.mark.parametrize(
    "answer",
    [ValueError("\udc80"), Fail("\udc80"), Cancel("\udc80"), Cancelled(7, "\udc80"), Failed(7, "internal", "\udc80")],
)
def test_half_a_surrogate_pair_in_a_message_costs_no_outcome(answer: Any) -> None:
    outcome = settle(item(), answer, force(), RANDOM)
    assert not isinstance(outcome, Succeeded)
    assert outcome.message.encode().endswith(b"?")
