"""The admin UI of a made-up world, and a browser without JavaScript."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from batchjob import log
from tests.support.ui_scene import build_scene
from tests.support.ui_world import World, build_ui


@pytest.fixture
def world() -> World:
    log.configure("error")
    return build_scene()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=build_ui(world))
    async with httpx2.AsyncClient(transport=transport, base_url="https://ui") as client:
        yield client
