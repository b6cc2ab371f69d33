"""kopf is a mere watcher: what it would do besides is switched off. Where its thread ends, so do we."""

import asyncio
from contextlib import suppress
from unittest.mock import AsyncMock, Mock

import pytest
from kopf import Body

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
