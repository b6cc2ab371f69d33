"""Samples of the long proofs of tests/prove, with fixed seeds."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from batchjob.store import scripts
from tests.prove.engine import drains, kills, millions, replies, restarts
from tests.prove.processors import annotations, histories, mails, outages, survivals
from tests.support.neighbours.client import Neighbours
from tests.support.redis_server import RedisServer
from tests.support.store_proxy import How
from tests.support.workers import Workers


async def test_killed_workers_lose_nothing_and_repeat_only_what_was_in_flight(workers: Workers, redis: Redis) -> None:
    facts = await kills.trial(workers, redis, kills=12, seed=1)
    assert facts["kills"] == 12
    assert facts["in_flight"], "no kill hit a busy worker"
    assert facts["parts"], "nothing was sealed"


async def test_drained_workers_give_back_what_they_had_not_started_and_spend_nothing(
    workers: Workers, redis: Redis
) -> None:
    facts = await drains.trial(workers, redis, drains=6, seed=1, back_seconds=20)
    assert facts["items_given_back"], "no drained worker held anything"


async def test_nothing_grows_while_a_large_run_is_worked_on(workers: Workers, redis: Redis) -> None:
    facts = await millions.trial(workers, redis, items=50_000)
    assert facts["store_bytes_an_item"] > millions.ITEM_BYTES, "the store did not hold the items"


async def test_a_store_that_is_killed_and_hangs_loses_nothing(tmp_path: Path) -> None:
    facts = await restarts.trial(tmp_path, lives=2, hang_seconds=4, seed=1)
    assert facts["counted_after_loss"], "no lease ran out in the hang"


async def test_a_script_whose_reply_is_lost_has_its_effect_once(redis_server: RedisServer, tmp_path: Path) -> None:
    clean, _ = await replies.learn(redis_server, tmp_path)
    once = [(script.name, 1) for script in scripts.ALL]
    for number, spoil in enumerate(s for s in replies.spoils(once, most=1) if s.how is How.LOSE_REPLY):
        await replies.trial(redis_server, tmp_path / str(number), clean, spoil)


async def test_sentences_that_a_server_answers_badly_all_end_as_they_should(
    workers: Workers, neighbours: Neighbours
) -> None:
    facts = await annotations.trial(workers, neighbours, sentences=60, seed=1, timeout_seconds=4)
    assert facts["dead_letters"] == 5, "not every kind of fault lasted for a sentence"


async def test_a_model_that_is_away_for_a_while_loses_no_item_and_spends_no_attempt_on_it(
    workers: Workers, tmp_path: Path
) -> None:
    facts = await outages.trial(workers, tmp_path / "neighbours", items=300, away_seconds=3)
    assert facts["attempts_of_requests_that_died_with_it"], "the server died with nothing in its hands"


@pytest.mark.parametrize("on_doubt", ["resend", "deadLetter"])
async def test_mails_through_a_server_that_fails_repeat_only_what_was_in_doubt_when_a_worker_is_killed(
    workers: Workers, neighbours: Neighbours, on_doubt: str
) -> None:
    case = mails.Case(recipients=60, kills=2, on_doubt=on_doubt, put_off="4.3.0 later")
    facts = await mails.trial(workers, neighbours, case, seed=1)
    assert facts[f"in_doubt_with_{on_doubt}"] > facts["answers_lost"], "no kill hit a mail in the gap"


@pytest.mark.parametrize(
    ("kind", "blow"),
    [("ai-batch", "kill"), ("export", "redrive"), ("email", "pause"), ("report", "drain"), ("custom", "pause")],
)
async def test_every_type_survives_what_happens_to_its_pods(
    workers: Workers, neighbours: Neighbours, kind: str, blow: str
) -> None:
    case = survivals.Case(kind, blow, items=50, blows=2, seconds=8.0)  # some are left when the last blow falls
    facts = await survivals.trial(workers, neighbours, case, seed=1)
    assert facts.get("lost_in_kills") != 0, "no kill hit a busy worker"


async def test_the_figures_of_a_report_are_those_of_the_ledgers(workers: Workers, neighbours: Neighbours) -> None:
    facts = await histories.trial(workers, neighbours, runs=16, seed=1)
    assert facts["figures"] > 60, "the history was too short to say anything"
