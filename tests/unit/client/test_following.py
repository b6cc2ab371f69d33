"""Following a BatchJob to its end, over streams that break, that are not let through, and gateways that are away."""

import json
from itertools import pairwise
from typing import Any

import pytest

from batchjob.api.status import Phase
from batchjob.client import calls, live
from batchjob.client.errors import NotFound, Unavailable, WaitTimeout
from batchjob.client.retries import Retries
from batchjob.client.steps import Emit, NextLine, NotAnswered, Open, Pause, Reply, Send
from batchjob.core import answers
from batchjob.core.events import ENDS

BROKEN = NotAnswered("reset", reached=True)
STREAM = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
RETRY = [b"retry: 2000", b""]


def event(number: int, kind: str = "batch:progress", **data: Any) -> list[bytes]:
    body = json.dumps({"type": kind, "id": f"{number}-0", "jobId": "t.a", "seq": number, "data": data})
    return [f"id: {number}-0".encode(), f"event: {kind}".encode(), f"data: {body}".encode(), b""]


def job(state: str, progress: float = 0.0, **counts: int) -> Reply:
    body = {"id": "t.a", "name": "a", "namespace": "t", "type": "custom", "state": state, "progress": progress}
    text = json.dumps({"success": True, "job": body | {"counts": counts}})
    return Reply(200, {"retry-after": "3"}, text.encode())


class Play:
    """Carries calls out with outcomes of a list, on a clock of its own: each pause takes time, and each line."""

    def __init__(self, *outcomes: Any, line_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.rules = calls.Rules(Retries(), clock=lambda: self.now, chance=lambda: 0.5)
        self._left = [*outcomes]
        self._lines: list[Any] = []
        self._line_seconds = line_seconds
        self.steps: list[Any] = []
        self.emitted: list[Any] = []

    def __call__(self, call: Any) -> Any:
        answer = None
        try:
            while True:
                step = call.send(answer)
                answer = None
                if isinstance(step, Emit):
                    self.emitted.append(step.value)
                    continue
                self.steps.append(step)
                if isinstance(step, Pause):
                    self.now += step.seconds
                else:
                    answer = self.answer(step)
        except StopIteration as ended:
            assert self._left == []
            return ended.value

    def answer(self, step: Any) -> Any:
        """What comes of a step: a stream is a list, its answer and then its lines."""
        if isinstance(step, NextLine):
            self.now += self._line_seconds
            return self._lines.pop(0)
        found = self._left.pop(0)
        if isinstance(found, list):
            found, *self._lines = found
        return found

    def opened(self) -> list[str | None]:
        return [step.request.headers.get("Last-Event-ID") for step in self.steps if isinstance(step, Open)]

    def pauses(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Pause)]


def test_a_broken_stream_goes_on_after_the_last_event() -> None:
    play = Play(
        [STREAM, *RETRY, *event(1), *event(2), event(3)[0], BROKEN],
        [STREAM, *RETRY, *event(3), None],
        [STREAM, *RETRY, *event(4, "batch:complete")],
    )
    play(live.follow(play.rules, "t.a", None))
    assert [one.seq for one in play.emitted] == [1, 2, 3, 4]
    assert play.opened() == [None, "2-0", "3-0"]
    assert play.pauses() == [0.5, 0.5]


def test_what_was_seen_to_its_end_before_is_over_at_once() -> None:
    play = Play(Reply(204, {}))
    play(live.follow(play.rules, "t.a", None, after="4-0"))
    assert (play.opened(), play.emitted) == (["4-0"], [])


def test_a_comment_is_no_event_and_what_has_no_id_does_not_move_the_place() -> None:
    gap = [b'data: {"type":"gap","time":"t","data":{}}', b""]
    play = Play([STREAM, b": heartbeat", b"", *event(1), *gap, BROKEN], [STREAM, *event(2, "batch:error")])
    play(live.follow(play.rules, "t.a", None))
    assert [one.type for one in play.emitted] == ["batch:progress", "gap", "batch:error"]
    assert play.opened() == [None, "1-0"]


@pytest.mark.parametrize("blocked", [BROKEN, Reply(503, {}), Reply(200, {"content-type": "text/html"})])
def test_where_no_stream_comes_through_it_is_asked_for_as_often_as_the_gateway_says(blocked: Any) -> None:
    asked = [job("running", 10.0, total=10, succeeded=1)] * 2 + [job("running", 50.0, total=10, succeeded=5)]
    play = Play(blocked, blocked, *asked, job("succeeded", 100.0, total=10, succeeded=10))
    play(live.follow(play.rules, "t.a", None))
    assert [one.data.get("processed") for one in play.emitted] == [1, 5, None], "what is the same is said once"
    assert play.emitted[-1].data["result"]["processed"] == 10
    assert play.pauses() == [live.POLL_SECONDS, 3, 3, 3]


def test_the_stream_is_tried_again_between_questions() -> None:
    play = Play(BROKEN, BROKEN, *[job("queued")] * 4, [STREAM, *event(1, "batch:complete")])
    play(live.follow(play.rules, "t.a", None))
    assert [one.type for one in play.emitted] == ["batch:progress", "batch:complete"]


def test_a_stream_that_opens_and_stays_silent_is_one_that_does_not_come_through() -> None:
    play = Play([STREAM, BROKEN], [STREAM, BROKEN], job("failed", total=1, failed=1))
    play(live.follow(play.rules, "t.a", None))
    assert [one.type for one in play.emitted] == ["batch:error"]


def test_a_gateway_that_is_away_is_waited_for_but_not_for_ever() -> None:
    class Away(Play):
        def answer(self, step: Any) -> Any:
            if self.now <= 300:
                return BROKEN
            return job("running") if isinstance(step, Send) else super().answer(step)

    away = Away([STREAM, *event(1, "batch:complete")])
    away(live.follow(away.rules, "t.a", None))
    assert away.emitted[-1].type == "batch:complete"
    play = Play(*[Reply(503, {})] * 1000)
    with pytest.raises(Unavailable):
        play(live.follow(play.rules, "t.a", None))
    assert live.PATIENCE_SECONDS < play.now - 100 < live.PATIENCE_SECONDS + 10


def test_what_no_waiting_helps_against_is_raised_at_once() -> None:
    play = Play(Reply(404, {}))
    with pytest.raises(NotFound):
        play(live.follow(play.rules, "t.a", None))


BEATS = [STREAM, *RETRY, *([b": heartbeat", b""] * 3)]  # of 15 s a line: over a minute


@pytest.mark.parametrize("call", [live.wait, live.follow, live.progress])
def test_one_that_was_deleted_while_only_heartbeats_came_is_said_to_be_gone(call: Any) -> None:
    first = [job("running")] if call is live.wait else []
    play = Play(*first, BEATS, Reply(404, {}), line_seconds=15.0)
    with pytest.raises(NotFound):
        play(call(play.rules, "t.a", None))


def test_one_whose_end_was_lost_is_asked_for_and_the_stream_goes_on_where_it_has_not_ended() -> None:
    first = [STREAM, *event(1), *BEATS[1:]]
    play = Play(first, job("running"), BEATS, job("succeeded", total=1, succeeded=1), line_seconds=15.0)
    play(live.follow(play.rules, "t.a", None))
    assert [one.type for one in play.emitted] == ["batch:progress", "batch:progress", "batch:complete"]
    assert play.opened() == [None, "1-0"]


@pytest.mark.parametrize("line_seconds", [0.01, 0.3, 10.0])
def test_the_time_is_up_when_it_is_up_also_while_events_come(line_seconds: float) -> None:
    lines = [[STREAM, *(line for number in range(200) for line in event(number))]] * 200
    play = Play(*lines, line_seconds=line_seconds)
    with pytest.raises(WaitTimeout, match=r"t\.a had not ended within 20 s"):
        play(live.follow(play.rules, "t.a", 20.0))
    assert play.now - 100 <= 20 + max(line_seconds, live.REOPEN_SECONDS)
    silences = [step.silence_seconds for step in play.steps if isinstance(step, Open)]
    assert silences[0] == 20
    assert all(later < earlier for earlier, later in pairwise(silences))


def test_wait_asks_first_and_at_the_end_until_the_batchjob_says_so_too() -> None:
    play = Play(job("succeeded"))
    assert play(live.wait(play.rules, "t.a", None)).succeeded
    play = Play(job("running"), [STREAM, *event(1, "batch:complete")], job("finalizing"), job("succeeded"))
    assert play(live.wait(play.rules, "t.a", 30.0)).succeeded
    assert [type(step) for step in play.steps if not isinstance(step, Pause)][-1] is Send


def test_progress_is_what_events_say_of_it_and_the_end() -> None:
    told: dict[str, Any] = {"progress": 41.6, "processed": 50, "total": 120, "item": "i", "message": "page 3"}
    result = {"processed": 118, "total": 120, "succeeded": 118}
    frames = [*event(1, "batch:started"), *event(2, **told), *event(3, "batch:error", error="e", result=result)]
    play = Play([STREAM, *frames])
    play(live.progress(play.rules, "t.a", None))
    assert play.emitted == [live.Progress(41.6, 50, 120, "i", "page 3"), live.Progress(98.3, 118, 120)]


def test_states_and_ends_are_those_of_the_api() -> None:
    assert tuple(phase.lower() for phase in Phase) == answers.STATES
    assert ENDS == live.ENDS
    assert live._ENDS.keys() == answers.ENDED
