"""The right to watch, asked for again: it ends with token and rules; a Kubernetes that is away ends none."""

from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.errors import ApiUnavailable
from batchjob.gateway.live_access import Right
from batchjob.gateway.problems import FORBIDDEN, UNAUTHENTICATED, Problem, unavailable
from batchjob.kube import BATCH_JOBS


def right(admit: Any, *, owns: Any = True, need: Any = None) -> Right:
    caller = Mock(owns=AsyncMock(side_effect=[owns]), need=AsyncMock(side_effect=need))
    gate = Mock(admit=AsyncMock(side_effect=[admit or caller]))
    return Right(Mock(gate=gate), "Bearer t", "team", "alice")


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        (right(None), True),
        (right(None, owns=False), False),
        (right(None, need=Problem(FORBIDDEN, "alice may not list batchjobs")), False),
        (right(Problem(UNAUTHENTICATED, "the token has expired")), False),
        (right(unavailable("The check of rights")), True),
    ],
)
async def test_the_right_holds_as_long_as_the_token_and_the_rules_say(asked: Right, holds: bool) -> None:
    assert await asked.holds() is holds


@pytest.mark.parametrize(("job", "verb"), [("team.one", "get"), (None, "list")])
async def test_to_watch_one_takes_the_right_to_get_it_and_to_watch_all_that_to_list(job: str | None, verb: str) -> None:
    caller = Mock(owns=AsyncMock(return_value=True), need=AsyncMock())
    doors = Mock(gate=Mock(admit=AsyncMock(return_value=caller)))
    assert await Right(doors, "Bearer t", "team", "alice", job).holds()
    caller.need.assert_awaited_once_with(verb, BATCH_JOBS, "team")


async def test_that_kubernetes_does_not_answer_is_no_answer() -> None:
    with pytest.raises(ApiUnavailable):  # which `stream` takes for a yes
        await right(None, owns=ApiUnavailable("away")).holds()
