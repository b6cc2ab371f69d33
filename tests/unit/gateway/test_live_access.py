"""What is watched, looked at again: it ends with token, rules and BatchJob; a Kubernetes that is away ends none."""

from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.errors import ApiUnavailable, NotFound
from batchjob.gateway import live_stream
from batchjob.gateway.live_access import Right
from batchjob.gateway.live_frames import Frame, build_notice
from batchjob.gateway.live_stream import Expired, Gone, stream
from batchjob.gateway.problems import FORBIDDEN, UNAUTHENTICATED, Problem, unavailable
from batchjob.kube import BATCH_JOBS
from tests.support.manifests import inline, noop


def right(admit: Any = None, *, owns: Any = True, need: Any = None, found: Any = None) -> Right:
    """`found`: what Kubernetes says of the one BatchJob that is watched; None: all that is alice's is."""
    caller = Mock(owns=AsyncMock(side_effect=[owns]), need=AsyncMock(side_effect=need))
    gate = Mock(admit=AsyncMock(side_effect=[admit or caller]))
    kube = Mock(get=AsyncMock(side_effect=[found]))
    return Right(Mock(gate=gate, kube=kube), "Bearer t", "team", "alice", "team.one" if found else None)


def batch_job(phase: str) -> dict[str, Any]:
    body = noop("one", inline(1), owner="alice")
    body["metadata"] |= {"namespace": "team", "uid": "u1"}
    return body | {"status": {"phase": phase}}


async def watched(right: Right, monkeypatch: pytest.MonkeyPatch, *silences: list[Frame]) -> list[str]:
    """The types of what is sent over a stream that is looked at at once, where this comes."""
    monkeypatch.setattr(live_stream, "CHECK_SECONDS", 0)
    sent, left = list[str](), [*silences]

    async def send(frames: list[Frame]) -> bool:
        sent.extend(frame.type for frame in frames)
        return bool(left)

    await stream(Mock(take=AsyncMock(side_effect=lambda _: left.pop(0))), send, right.look)
    return sent


@pytest.mark.parametrize(
    ("asked", "ends"),
    [
        (right(), None),
        (right(found=batch_job("Running")), None),
        (right(owns=False), Gone),
        (right(found=NotFound("deleted")), Gone),
        (right(found=batch_job("Running"), owns=False), Gone),
        (right(need=Problem(FORBIDDEN, "alice may not list batchjobs")), Expired),
        (right(Problem(UNAUTHENTICATED, "the token has expired")), Expired),
        (right(unavailable("The check of rights")), None),
        (right(owns=ApiUnavailable("away")), None),
        (right(found=ApiUnavailable("away")), None),
    ],
)
async def test_one_watches_as_long_as_the_token_the_rules_and_the_batchjob_are_there(
    asked: Right, ends: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ends is None:
        assert await watched(asked, monkeypatch, []) == ["heartbeat"]
        return
    with pytest.raises(ends):
        await watched(asked, monkeypatch, [])


async def test_an_end_whose_event_was_lost_is_told_from_the_batchjob(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await watched(right(found=batch_job("Succeeded")), monkeypatch, []) == ["batch:complete"]


async def test_events_that_still_come_are_not_cut_off_by_the_end_and_it_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = right(found=batch_job("Failed"))
    monkeypatch.setattr(asked, "look", AsyncMock(return_value=await asked.look()))
    told, end = build_notice("batch:progress", 0), build_notice("batch:error", 0)
    assert await watched(asked, monkeypatch, [told], [end], []) == ["batch:progress", "batch:error", "heartbeat"]


@pytest.mark.parametrize(("job", "verb"), [("team.one", "get"), (None, "list")])
async def test_to_watch_one_takes_the_right_to_get_it_and_to_watch_all_that_to_list(job: str | None, verb: str) -> None:
    caller = Mock(owns=AsyncMock(return_value=True), need=AsyncMock())
    kube = Mock(get=AsyncMock(return_value=batch_job("Running")))
    doors = Mock(gate=Mock(admit=AsyncMock(return_value=caller)), kube=kube)
    assert await Right(doors, "Bearer t", "team", "alice", job).look() is None
    caller.need.assert_awaited_once_with(verb, BATCH_JOBS, "team")
