"""The gateway within this process, asked over ASGI: what a client sees, without a port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx2
from fastapi import FastAPI

from batchjob.gateway.app import build_app
from batchjob.gateway.settings import GatewaySettings
from batchjob.kube import Access
from tests.support.described import Described


def gateway_settings(**given: Any) -> GatewaySettings:
    """Settings, with a store that nobody serves unless one is named."""
    return GatewaySettings(**({"store_url": "redis://127.0.0.1:1/0"} | given))


def nobody() -> Access:
    """The access to an API server that is not there."""
    return Access("http://127.0.0.1:1")


@cache
def _document() -> dict[str, Any]:
    return build_gateway().openapi()


@asynccontextmanager
async def asking(app: FastAPI, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an app that has started; `headers` go with each request. Each answer has to be as described."""
    fits = Described(_document()).check
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=transport, base_url="http://gateway", headers=headers, event_hooks={"response": [fits]}
        ) as client,
    ):
        yield client


def build_gateway(**given: Any) -> FastAPI:
    """An app whose doors lead nowhere, without a socket even: for what needs none."""
    return build_app(gateway_settings(**({"store_url": "unix:///nowhere/store.sock"} | given)), nobody())
