"""kopf is a mere watcher: what it would do besides is switched off. Where its thread ends, so do we."""

import asyncio
from unittest.mock import Mock

import pytest
from kopf import Body

from batchjob.controller.supervisor import Supervisor, build_settings
from batchjob.kube import Access


async def test_the_process_ends_where_the_thread_of_kopf_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees nothing more, and would tell Kubernetes for ever that it is well."""
    monkeypatch.setattr(Supervisor, "_keep_running", Mock())
    with pytest.raises(RuntimeError, match="kopf"):
        await asyncio.wait_for(Supervisor(Access("http://127.0.0.1"), None, Mock()).run(), 5)


def test_kopf_copies_no_object_for_a_comparison_that_nobody_asks_for() -> None:
    storage = build_settings().persistence.diffbase_storage
    body = Body({"metadata": {"name": "a"}, "spec": {"source": {"items": [{"id": "i0"}]}}})
    assert not storage.build(body=body, extra_fields=[])
    assert storage.fetch(body=body) is None
