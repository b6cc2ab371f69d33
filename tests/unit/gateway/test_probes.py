"""Anybody may ask whether the gateway is ready; Kubernetes is not asked each time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from batchjob.errors import ApiUnavailable
from batchjob.gateway import probes


@pytest.mark.parametrize(
    ("says", "status", "words"),
    [(True, 200, "ok"), (False, 503, "install the CRDs"), (ApiUnavailable("away"), 503, "does not answer")],
)
async def test_many_who_ask_at_once_ask_kubernetes_once(
    monkeypatch: pytest.MonkeyPatch, says: bool | Exception, status: int, words: str
) -> None:
    asked = list[Any]()

    async def serves(kind: Any) -> bool:
        asked.append(kind)
        await asyncio.sleep(0)
        if isinstance(says, Exception):
            raise says
        return says

    app = FastAPI()
    app.include_router(probes.router)
    app.state.doors = SimpleNamespace(kube=SimpleNamespace(serves=serves))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        monkeypatch.setattr(probes, "KNOWN_SECONDS", 600.0)
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
        answers.append(await client.get("/readyz"))
        assert {answer.status_code for answer in answers} == {status}
        assert words in answers[-1].text
        assert len(asked) == 1
        monkeypatch.setattr(probes, "KNOWN_SECONDS", 0.0)
        await client.get("/readyz")
        assert len(asked) == 2
