"""kopf is a mere watcher: what it would do besides is switched off. Where its thread ends, so do we."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from kopf import Body
from yarl import URL

from batchjob.controller.handlers import build_pace, build_registry
from batchjob.controller.supervisor import Supervisor, build_settings
from batchjob.kube import Access


async def test_the_process_ends_where_the_thread_of_kopf_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees nothing more, and would tell Kubernetes for ever that it is well."""
    monkeypatch.setattr(Supervisor, "_keep_running", Mock())
    with pytest.raises(RuntimeError, match="kopf"):
        await asyncio.wait_for(Supervisor(Access("http://127.0.0.1"), None, Mock(), Mock()).run(), 5)


async def test_names_are_compared_whenever_kopf_begins_for_of_an_empty_list_it_tells_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twice, starts = asyncio.Event(), list[None]()

    def begun() -> None:
        starts.append(None)
        if len(starts) > 1:
            twice.set()

    place = "batchjob.controller.supervisor"
    monkeypatch.setattr(f"{place}.Kube", lambda _: AsyncMock(__aenter__=AsyncMock(return_value=AsyncMock())))
    monkeypatch.setattr(f"{place}.kopf.operator", AsyncMock(side_effect=OSError("a watch ended")))
    monkeypatch.setattr(f"{place}.FIRST_PAUSE_SECONDS", 0.01)
    running = asyncio.ensure_future(Supervisor(Access("http://127.0.0.1"), None, Mock(), begun).run())
    await asyncio.wait_for(twice.wait(), 60)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_kopf_copies_no_object_for_a_comparison_that_nobody_asks_for() -> None:
    storage = build_settings().persistence.diffbase_storage
    body = Body({"metadata": {"name": "a"}, "spec": {"source": {"items": [{"id": "i0"}]}}})
    assert not storage.build(body=body, extra_fields=[])
    assert storage.fetch(body=body) is None


async def test_a_token_that_was_refused_is_read_again_and_not_handed_out_twice(tmp_path: Path) -> None:
    """kopf signs in again at once after a 401, for ever, as long as it is given something that looks new."""
    file = tmp_path / "token"
    file.write_text("old")
    registry = build_registry(Access("http://127.0.0.1", token_file=file), Mock())
    login: Any = next(iter(registry._activities.get_all_handlers())).fn
    first = await login()
    assert await login() is None
    file.write_text("new")
    second = await login()
    sent = [one.aiohttp_session.headers["Authorization"] for one in (first, second)]
    assert sent == ["Bearer old", "Bearer new"]
    assert await login() is None
    for one in (first, second):
        await one.aiohttp_session.close()


async def test_a_watch_is_not_opened_again_at_once_and_other_calls_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = list[float]()
    monkeypatch.setattr(f"{build_pace.__module__}.asyncio.sleep", AsyncMock(side_effect=waits.append))
    [wait] = build_pace(60).on_request_start
    for query in ("watch=true", "limit=500", "watch=true&resourceVersion=1"):
        request = Mock(url=URL(f"http://127.0.0.1/apis/batchjob.dev/v1alpha1/batchjobs?{query}"))
        await wait(Mock(), Mock(), request)
    first, second = waits
    assert first <= 0
    assert 0 < second <= 60
