"""Real sentences through a model's server that is not well: each ends as its own faults say, within the limits.

Every tenth answer is a 429, and some are errors, broken JSON, outside of the form, or come too late. Most sentences
meet their fault once; some meet it for ever, and have to become dead letters of its class. What arrived is read from
the server's ledger, and a direct call of the same server, once it is well, says what the answers should have been.
"""

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Final, NamedTuple

import openai

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.items import RunState
from tests.support.ai_runs import ai_spec, asked, results
from tests.support.neighbours.client import Neighbours
from tests.support.reviews import Review, reviews
from tests.support.workers import Workers, ended

PODS: Final = 2
CONCURRENCY: Final = 8
LATER_SECONDS: Final = 2  # than an item's time is over
PATIENCE_SECONDS: Final = 1800
MINUTE_SECONDS: Final = 60.0
SCORE: Final = {"type": "object", "properties": {"score": {"type": "number", "minimum": -1, "maximum": 1}}}
# In a minute; either binds in its turn, and both are checked.
LIMITS: Final = (
    {"requestsPerMinute": 550, "tokensPerMinute": 200_000},
    {"requestsPerMinute": 4000, "tokensPerMinute": 40_000},
)


class Fault(NamedTuple):
    """What goes wrong with some of a thousand sentences, once or for ever."""

    rule: dict[str, Any]
    once: int
    for_ever: int = 0
    error_class: str = ""  # of the dead letters


# Of the answers, of which a fault that lasts has three: 10 % 429, 3 % errors, 2 % broken, 2 % wrong, 1 % too late.
FAULTS: Final = (
    Fault({"action": "status", "status": 429, "retry_after": 1}, once=105),
    Fault({"action": "status", "status": 429}, once=0, for_ever=5, error_class="rate-limited"),
    Fault({"action": "status", "status": 500}, once=21, for_ever=5, error_class="upstream"),
    Fault({"action": "invalid_json"}, once=9, for_ever=5, error_class="invalid-answer"),
    Fault({"action": "wrong_answer"}, once=9, for_ever=5, error_class="invalid-answer"),
    Fault({"action": "delay"}, once=3, for_ever=3, error_class="timeout"),
)


async def trial(
    workers: Workers, neighbours: Neighbours, sentences: int, seed: int, timeout_seconds: int
) -> dict[str, Any]:
    """So many sentences in one run; returns what was counted. AssertionError where the promise does not hold."""
    random = Random(seed)
    texts = sorted({review.text: review for review in reviews()}.values())
    chosen = random.sample(texts, sentences)
    limits = LIMITS[seed % len(LIMITS)]
    rules, doomed = spoilt(chosen, random, timeout_seconds + LATER_SECONDS)
    neighbours.set_faults("chat", rules)
    run = await annotate(workers, neighbours, chosen, model=limits, itemTimeoutSeconds=timeout_seconds)
    found = await workers.snapshot(run)
    letters = await workers.store.dead_letters(run.uid, sentences)
    assert {letter.id: letter.error_class for letter in letters} == doomed
    assert (found.counts.succeeded, found.counts.failed) == (sentences - len(doomed), len(doomed))
    rows = asked(neighbours, run)
    hits = Counter[str]()
    for rule in neighbours.faults()["chat"]:
        hits[str(rule["status"]) if rule["action"] == "status" else rule["action"]] += rule["hits"]
    neighbours.clear_faults("chat")
    requests, tokens = (most_in_a_minute(rows, unit) for unit in ("requests", "tokens"))
    assert requests <= limits["requestsPerMinute"], f"{requests} requests arrived in a minute"
    assert tokens <= limits["tokensPerMinute"], f"the requests of a minute took {tokens} tokens"
    scores = {name: result["score"] for name, result in (await results(workers, run)).items()}
    direct = await ask_directly(neighbours, [review for review in chosen if review.id in scores])
    assert scores == direct, "an answer is not what the model says of the sentence"
    ratings = {review.id: review.rating for review in chosen}
    correlation = correlated(scores, ratings)
    assert correlation == correlated(direct, ratings)
    return {
        "sentences": sentences,
        "succeeded": found.counts.succeeded,
        "dead_letters": found.counts.failed,
        "wrong_class": 0,
        "requests": len(rows),
        **{f"of_them_{name}": count for name, count in sorted(hits.items())},
        f"most_requests_in_a_minute_of_{limits['requestsPerMinute']}": requests,
        f"most_tokens_in_a_minute_of_{limits['tokensPerMinute']}": tokens,
        "most_correlation": round(correlation, 4),
    }


def spoilt(chosen: Sequence[Review], random: Random, late_seconds: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rules of the server, and the class of each sentence that cannot succeed, by id."""
    left = random.sample(chosen, len(chosen))
    rules: list[dict[str, Any]] = []
    doomed: dict[str, str] = {}
    for fault in FAULTS:
        for thousandths, times in ((fault.once, 1), (fault.for_ever, None)):
            # At least one of each, however few the sentences.
            count = max(1, len(chosen) * thousandths // 1000) if thousandths else 0
            taken, left = left[:count], left[count:]
            if taken:
                about = {"match": exactly(review.text for review in taken), "times": times}
                late = {"delay_seconds": late_seconds} if fault.rule["action"] == "delay" else {}
                rules.append(fault.rule | about | late)
            if times is None:
                doomed |= {review.id: fault.error_class for review in taken}
    return rules, doomed


def exactly(texts: Iterable[str]) -> str:
    """A regular expression that matches these texts, each as a whole."""
    return rf"\A(?:{'|'.join(map(re.escape, texts))})\Z"


async def annotate(workers: Workers, neighbours: Neighbours, chosen: Sequence[Review], **spec: Any) -> Run:
    """A run over the sentences, done by pods of their own processes."""
    source = {"configMapRef": {"name": "sentences", "key": "items.jsonl"}}
    retry = {"maxAttempts": 3, "backoff": {"initialDelaySeconds": 1, "maxDelaySeconds": 2}}
    run = await workers.open(
        ai_spec(neighbours, source, concurrency=CONCURRENCY, parallelism=PODS, retry=retry, **spec)
    )
    lines = (json.dumps({"id": review.id, "text": review.text}) for review in chosen)
    workers.reference(run, "source", items__jsonl="\n".join(lines))
    with workers.process(run, "a") as one, workers.process(run, "b") as two:
        await workers.wait(run, lambda s: s.state is RunState.CLOSED, "the run to end", seconds=PATIENCE_SECONDS)
        assert [await ended(one), await ended(two)] == [EXIT_CLOSED] * PODS
    return run


def most_in_a_minute(rows: Sequence[dict[str, Any]], unit: str) -> int:
    """The most requests, or tokens of them, that arrived in any minute."""
    rows = sorted(rows, key=lambda row: row["time"])
    weights = [1 if unit == "requests" else row.get("tokens", 0) for row in rows]
    most = within = first = 0
    for row, weight in zip(rows, weights, strict=True):
        within += weight
        while row["time"] - rows[first]["time"] >= MINUTE_SECONDS:
            within -= weights[first]
            first += 1
        most = max(most, within)
    return most


async def ask_directly(neighbours: Neighbours, chosen: Sequence[Review]) -> dict[str, float]:
    """The score of each sentence by the plainest client there is, by id."""
    form: Any = {"type": "json_schema", "json_schema": {"name": "form", "schema": SCORE}}
    scores = {}
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{neighbours.ports['chat']}/v1", api_key="x") as client:
        for review in chosen:
            answer = await client.chat.completions.create(
                model="stand-in", messages=[{"role": "user", "content": review.text}], response_format=form
            )
            scores[review.id] = json.loads(answer.choices[0].message.content or "")["score"]
    return scores


def correlated(scores: dict[str, float], ratings: dict[str, float]) -> float:
    """Pearson's r of the model's scores and people's ratings."""
    return statistics.correlation(list(scores.values()), [ratings[name] for name in scores])
