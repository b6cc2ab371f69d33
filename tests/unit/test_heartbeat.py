"""The heartbeat's thread and what it has of the one that made it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from unittest.mock import Mock

import structlog

from batchjob.worker.heartbeat import Heartbeat, Pulse


def test_its_lines_say_whose_run_it_is() -> None:
    found: list[dict[str, Any]] = []

    @asynccontextmanager
    async def connect(_: str) -> AsyncGenerator[Any]:
        found.append(structlog.contextvars.get_contextvars())
        yield Mock()

    with structlog.contextvars.bound_contextvars(job="team/nightly", trace_id="0af7"):
        heartbeat = Heartbeat(cast("Any", connect), "u1", "w1", Pulse(60), 1, Mock())
    heartbeat.end()
    heartbeat.start()
    heartbeat.join(10)
    assert found == [{"job": "team/nightly", "trace_id": "0af7"}]
