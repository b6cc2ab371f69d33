"""The queues as the leader keeps them."""

from typing import Any
from unittest.mock import Mock

import pytest

from batchjob.api.queue import BatchQueueSpec
from batchjob.controller.queues import PARTING_SECONDS, Queues
from batchjob.core.admission import Claim, is_news
from batchjob.core.reasons import Reason


def claim(uid: str, at: int = 0) -> Claim:
    return Claim(5, f"2026-01-01T00:00:{at:02d}Z", uid, "a", 1)


def queue(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": "q", "generation": 1, "resourceVersion": "1"}, "spec": spec}


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def queues(told: list[str]) -> Queues:
    return Queues(told.append)


def test_every_type_has_a_queue_and_other_names_have_none(queues: Queues) -> None:
    assert [
        queues.spec(name) is not None for name in ("ai-batch", "export", "email", "report", "custom", "nightly")
    ] == [*(True, True, True, True, True, False)]
    queues.seen(queue("nightly"), False)
    assert queues.spec("nightly")
    queues.seen(queue("nightly"), True)
    assert queues.place("nightly", "u", claim("u")) is None


def test_who_may_start_because_another_left_is_told(queues: Queues, told: list[str]) -> None:
    queues.seen(queue("custom", maxActiveJobs=1), False)
    first, second = (queues.place("custom", uid, claim(uid, n)) for n, uid in enumerate(("x", "y")))
    assert first
    assert second
    assert (first.workers, second.reason, told) == (1, Reason.CONCURRENCY_LIMIT, [])
    queues.forget("x")
    assert told == ["y"]
    again = queues.place("custom", "y", claim("y", 1))
    assert again
    assert again.workers == 1


def test_who_has_ended_keeps_the_places_of_its_pods_until_they_have_left_and_gets_no_more(
    queues: Queues, told: list[str]
) -> None:
    queues.seen(queue("custom", maxWorkers=5), False)
    other, wants = claim("z", 0)._replace(workers=2), claim("x", 1)._replace(workers=5)
    queues.place("custom", "z", other)
    assert queues.place("custom", "x", wants, rate=7.0) == (3, None, "", 0), "of five it gets what is left"
    queues.place("custom", "y", claim("y", 2))
    queues.ended("x", has=3)
    assert (queues.rate("custom"), told) == (0, [])
    queues.forget("z")
    assert (told, queues.line("custom").workers) == (["y"], 4)
    queues.ended("x", has=1)
    assert queues.line("custom").workers == 2
    queues.ended("x", has=0)
    assert queues.line("custom").workers == 1
    queues.ended("x", has=2)
    assert queues.line("custom").workers == 1, "it was not in the books"


def test_a_change_of_its_status_concerns_no_batch_job_and_one_of_its_spec_does(queues: Queues) -> None:
    assert queues.seen(queue("nightly", paused=True), False)
    assert not queues.seen(queue("nightly", paused=True) | {"status": {"waiting": 3}}, False)
    assert queues.seen(queue("nightly"), False)
    assert queues.seen(queue("nightly"), True)


def test_a_queue_of_a_newer_version_stays_as_it_was(queues: Queues) -> None:
    queues.seen(queue("custom", maxActiveJobs=1), False)
    assert not queues.seen(queue("custom", maxActiveJobs="many"), False)
    spec = queues.spec("custom")
    assert spec
    assert spec.max_active_jobs == 1


@pytest.mark.parametrize("name", ["custom", "nightly"])
def test_in_a_queue_that_nobody_here_could_ever_read_nothing_starts_and_nothing_is_thrown_away(
    queues: Queues, name: str
) -> None:
    kept = BatchQueueSpec().retention.keep_completed
    assert queues.seen(queue(name, maxActiveJobs="many"), False), "its BatchJobs have to say so"
    assert not queues.seen(queue(name, maxActiveJobs="many"), False)
    assert queues.is_unreadable(name)
    assert queues.place(name, "u", claim("u")) is None
    assert queues.keep_completed(name) > kept
    assert queues.seen(queue(name, maxActiveJobs=1), False)
    place = queues.place(name, "u", claim("u"))
    assert place
    assert (place.workers, queues.keep_completed(name), queues.is_unreadable(name)) == (1, kept, False)


def test_a_queue_that_nobody_could_read_and_that_is_gone_is_as_if_it_had_not_been(queues: Queues) -> None:
    queues.seen(queue("custom", maxActiveJobs="many"), False)
    assert queues.seen(queue("custom", maxActiveJobs="many"), True)
    assert queues.place("custom", "u", claim("u"))


def test_who_ran_under_an_earlier_leader_has_its_place(queues: Queues) -> None:
    queues.seen(queue("custom", maxActiveJobs=1), False)
    queues.restore("custom", claim("old"))
    waits = queues.place("custom", "new", claim("new", 1))
    assert waits
    assert waits.reason is Reason.CONCURRENCY_LIMIT
    keeps = queues.place("custom", "old", claim("old"))
    assert keeps
    assert keeps.workers == 1


def test_while_its_queue_is_away_who_runs_keeps_its_place_and_who_waits_goes_on_waiting(queues: Queues) -> None:
    queues.seen(queue("nightly", maxActiveJobs=1), False)
    queues.place("nightly", "runs", claim("runs", 1))
    queues.place("nightly", "waits", claim("waits"))
    queues.seen(queue("nightly"), True)
    assert queues.line("nightly").active == 1
    assert [queues.place("nightly", uid, claim(uid), has=has) for uid, has in (("waits", 0), ("runs", 1))] == [None] * 2
    queues.seen(queue("nightly", maxActiveJobs=1), False)
    waits, runs = (queues.place("nightly", uid, claim(uid), has=has) for uid, has in (("waits", 0), ("runs", 1)))
    assert waits
    assert runs
    assert (waits.reason, runs.workers) == (Reason.CONCURRENCY_LIMIT, 1)


def test_the_queue_of_a_type_rules_for_a_moment_once_it_is_gone(
    queues: Queues, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kubectl replace --force` of a paused one would let everything start in between."""
    now = 0.0
    monkeypatch.setattr("batchjob.controller.queues.time", Mock(monotonic=lambda: now))
    paused = queue("email", paused=True, retention={"keepCompleted": 5000})
    queues.seen(paused, False)
    queues.place("email", "waits", claim("waits"))
    assert not queues.seen(paused, True)
    assert list(queues.objects()) == [], "it has no status any more"
    now = PARTING_SECONDS - 1
    assert queues.part() == set()
    assert (queues.keep_completed("email"), queues.line("email").active, told) == (5000, 0, [])
    assert not queues.seen(paused, False), "it is back as it was"
    now = 10 * PARTING_SECONDS
    assert queues.part() == set()
    queues.seen(paused, True)
    now = 11 * PARTING_SECONDS
    assert queues.part() == {"email"}
    assert (queues.keep_completed("email"), queues.line("email").active, told) == (1000, 1, ["waits"])


def test_a_queue_that_is_away_throws_nothing_away(queues: Queues) -> None:
    queues.seen(queue("nightly", retention={"keepCompleted": 5000}), False)
    queues.seen(queue("nightly"), True)
    assert queues.keep_completed("nightly") > 5000


def test_who_has_pods_and_is_in_no_book_runs_though_the_queue_is_full(queues: Queues) -> None:
    queues.seen(queue("custom", maxActiveJobs=1), False)
    queues.place("custom", "other", claim("other"))
    runs = queues.place("custom", "runs", claim("runs"), has=1)
    assert runs
    assert (runs.workers, queues.line("custom").active) == (1, 2)


def test_a_wait_is_estimated_from_the_pace_of_late(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("batchjob.controller.queues.time.monotonic", lambda: now)
    queues.seen(queue("custom", maxActiveJobs=1), False)
    for n in range(4):
        queues.place("custom", f"u{n}", claim(f"u{n}", n))
    assert queues.wait_seconds("custom", 1) is None, "one start is no pace"
    for n in range(3):
        now += 60
        queues.forget(f"u{n}")
    assert queues.wait_seconds("custom", 2) == 120


@pytest.mark.parametrize(
    ("told", "position", "news"),
    [
        (None, 500, True),
        (500, 400, False),
        (500, 250, True),
        (12, 11, False),
        (11, 10, True),
        (3, 3, False),
        (3, 4, True),
        (60, 119, False),
        (60, 120, True),
        (3, 0, False),
    ],
)
def test_the_first_ten_in_line_are_told_each_step_and_the_others_half_and_twice_the_way(
    told: int | None, position: int, news: bool
) -> None:
    assert is_news(told, position) is news


def test_a_place_in_line_is_that_of_those_who_wait(queues: Queues) -> None:
    queues.seen(queue("custom", maxActiveJobs=1), False)
    for n in range(3):
        queues.place("custom", f"u{n}", claim(f"u{n}", n))
    assert [queues.position(uid) for uid in ("u0", "u1", "stranger")] == [0, 1, 0]
