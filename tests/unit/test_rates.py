"""Rates: what a limit a minute means for each unit."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.defaults import effective
from batchjob.api.queue import RateLimit
from batchjob.api.run import Run
from batchjob.core.rates import Rate, items_per_minute, key_of, keys_of, own_rates, queue_rates
from tests.support.plan_world import batch_job

MINUTE_US = 60_000_000


@given(limit=st.integers(1, 100_000))
def test_no_minute_holds_more_than_the_limit(limit: int) -> None:
    rate = Rate.per_minute(limit)
    # A burst at the beginning of the minute, and whatever comes one by one until its end.
    assert rate.burst + (MINUTE_US - 1) // rate.interval_us <= limit


@given(limit=st.integers(1, 1_000_000_000), seconds=st.integers(1, 86_400))
def test_no_time_holds_more_than_its_limit_and_none_is_unlimited(limit: int, seconds: int) -> None:
    rate = Rate.of(limit, seconds)
    assert rate.interval_us > 0
    assert rate.burst + (seconds * 1_000_000 - 1) // rate.interval_us <= limit


@given(limit=st.integers(1, 100_000))
def test_hardly_any_of_the_limit_is_given_away(limit: int) -> None:
    rate = Rate.per_minute(limit)
    assert MINUTE_US / rate.interval_us >= 0.95 * (limit - rate.burst)


def run_of(limits: list[dict[str, Any]], name: str = "job", **spec: Any) -> Run:
    job = batch_job(spec, name=name)
    found = [RateLimit.model_validate(limit) for limit in limits]
    return Run(
        uid=name,
        namespace="team",
        name=name,
        epoch="e",
        spec=job.spec,
        effective=effective(job.spec),
        rate_limits=found,
    )


BOTH = {"key": "model", "requests": 600, "tokens": 90_000, "perSeconds": 30}


def test_a_limit_of_requests_and_tokens_is_two_rates_that_all_runs_of_the_queue_share() -> None:
    rates = list(queue_rates(run_of([BOTH])))
    assert [(rate.rate, rate.counts_tokens) for rate in rates] == [
        (Rate.of(600, 30), False),
        (Rate.of(90_000, 30), True),
    ]
    assert rates == list(queue_rates(run_of([BOTH], "another")))
    assert len({rate.key for rate in rates}) == 2


def test_another_queue_and_another_key_are_other_rates() -> None:
    mine = keys_of(run_of([BOTH]))
    assert not mine & keys_of(run_of([BOTH], queueName="other"))
    assert not mine & keys_of(run_of([BOTH | {"key": "other"}]))


def test_a_limit_that_changes_keeps_what_was_used() -> None:
    assert keys_of(run_of([BOTH])) == keys_of(run_of([BOTH | {"requests": 1, "perSeconds": 1}]))


def test_a_run_takes_of_its_own_rate_and_of_those_of_its_queue() -> None:
    run = run_of([BOTH], rateLimitKey="mine")
    own = key_of(run)
    assert own
    assert keys_of(run) == {own} | {rate.key for rate in queue_rates(run)}
    assert keys_of(run_of([])) == set()


MODEL = {"name": "m", "requestsPerMinute": 600, "tokensPerMinute": 90_000}
FORM = {"fields": [{"name": "mood", "type": "string"}]}


def asking(**model: Any) -> dict[str, Any]:
    block = {"instructions": "i", "formSchema": FORM, "itemsPerRequest": 5, "model": MODEL | model}
    return {"type": "ai-batch", "custom": None, "aiBatch": block}


def test_the_limits_of_a_model_are_two_rates_that_all_who_ask_it_with_the_same_key_share() -> None:
    rates = list(own_rates(run_of([], **asking())))
    assert [(rate.rate, rate.counts_tokens) for rate in rates] == [
        (Rate.per_minute(600), False),
        (Rate.per_minute(90_000), True),
    ]
    assert [rate.key for rate in rates] == [rate.key for rate in own_rates(run_of([], "another", **asking()))]
    assert keys_of(run_of([], **asking())) == {rate.key for rate in rates}
    assert not keys_of(run_of([], **asking(baseUrl="https://other/v1"))) & {rate.key for rate in rates}
    assert not keys_of(run_of([], **asking(headersSecretRef={"name": "other"}))) & {rate.key for rate in rates}


def test_several_items_in_one_request_use_up_one_of_it() -> None:
    assert items_per_minute(run_of([], **asking()).spec, []) == 3000


def test_the_slowest_of_all_limits_says_how_many_items_may_start() -> None:
    email = {"smtp": {"host": "h"}, "from": "a@b", "subject": "s", "text": "t", "ratePerMinute": 90}
    mails = batch_job({"type": "email", "custom": None, "email": email}).spec
    limits = [RateLimit(key="hour", requests=3600, per_seconds=3600), RateLimit(key="tokens", tokens=1)]
    assert items_per_minute(mails, limits) == 60
    assert items_per_minute(mails, limits[1:]) == 90
    assert items_per_minute(batch_job().spec, limits[1:]) is None
