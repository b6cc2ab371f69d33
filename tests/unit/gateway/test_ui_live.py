"""The stream that tells a page to read itself again: whom it tells, and when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Message

from batchjob import log
from batchjob.errors import StoreUnavailable
from batchjob.gateway import live_hub, live_stream
from batchjob.gateway.ui.routes_live import CHANGED
from batchjob.gateway.ui.session import COOKIE
from tests.support.ui_scene import BOB, build_scene
from tests.support.ui_world import ALICE, TOKENS, World, build_ui

PATH = "/admin/queues/live"
MINE, OTHER = "team-search.reviews-sentiment-2401", "team-search.welcome-mail-2402"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    log.configure("error")
    monkeypatch.setattr(live_hub, "EAR_SECONDS", 0.01)
    return build_scene()


class Heard:
    """What came over one stream."""

    def __init__(self) -> None:
        self.status = 0
        self.text = b""
        self.ended = False
        self.news = asyncio.Condition()

    async def send(self, message: Message) -> None:
        async with self.news:
            self.status = message.get("status", self.status)
            self.text += message.get("body", b"")
            self.ended = message["type"] == "http.response.body" and not message.get("more_body")
            self.news.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(holds)

    async def changes(self, number: int) -> None:
        await self.until(lambda: self.text.count(CHANGED) >= number)


@asynccontextmanager
async def listening(app: Any, token: str, query: str = "") -> AsyncIterator[Heard]:
    """A stream over ASGI: httpx would wait for its end."""
    heard, gone = Heard(), asyncio.Event()
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        if (first := next(asked, None)) is not None:
            return first
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "method": "GET", "path": PATH, "raw_path": PATH.encode(), "query_string": query.encode(),
        "headers": [(b"cookie", f"{COOKIE}={token}".encode()), (b"host", b"ui")], "http_version": "1.1",
        "scheme": "https", "server": ("ui", 443), "client": ("x", 1), "root_path": "",
    }  # fmt: skip
    task = asyncio.create_task(app(scope, receive, heard.send))
    try:
        await heard.until(lambda: heard.ended or b"retry:" in heard.text)
        yield heard
    finally:
        gone.set()
        await asyncio.wait_for(task, 20)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Any]:
    app = build_ui(world)
    async with app.router.lifespan_context(app):
        yield app


async def test_an_owner_hears_of_the_own_batchjobs_and_an_admin_of_all(world: World) -> None:
    async with running(world) as app, listening(app, "alice") as alice, listening(app, "admin") as admin:
        await asyncio.sleep(0.1)  # what the reader says at its start
        before = alice.text.count(CHANGED), admin.text.count(CHANGED)
        world.live.tell(BOB, "billing.bobs")
        await admin.changes(before[1] + 1)
        assert alice.text.count(CHANGED) == before[0]
        world.live.tell(ALICE, MINE)
        await alice.changes(before[0] + 1)
        assert ALICE.encode() not in alice.text + admin.text
        assert MINE.encode() not in alice.text + admin.text, "that something changed, and never what"


async def test_a_page_of_a_batchjob_hears_of_that_one_alone(world: World) -> None:
    async with running(world) as app, listening(app, "alice", f"job={MINE}") as page, listening(app, "admin") as admin:
        world.live.tell(ALICE, OTHER)
        await admin.changes(1)
        assert CHANGED not in page.text
        world.live.tell(ALICE, MINE)
        await page.changes(1)


@pytest.mark.parametrize(
    ("token", "query", "status"),
    [
        ("forged", "", 303),
        ("alice", "job=x", 422),
        ("alice", "job=team-search.nobodys", 404),
        ("alice", "job=bob", 422),
    ],
)
async def test_who_may_not_see_hears_nothing(world: World, token: str, query: str, status: int) -> None:
    async with running(world) as app, listening(app, token, query) as heard:
        assert heard.status == status
        assert heard.ended


async def test_a_store_that_does_not_answer_is_said_before_the_stream_begins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> str:
        raise StoreUnavailable("the store does not answer")

    async with running(world) as app:
        monkeypatch.setattr(world.live, "last", away)
        async with listening(app, "alice", f"job={MINE}") as heard:
            assert heard.status == 503
            assert heard.ended


async def test_anothers_batchjob_is_not_there(world: World) -> None:
    theirs = next(key for key, job in world.jobs.items() if job["spec"]["owner"] == BOB)
    async with running(world) as app, listening(app, "alice", f"job={'.'.join(theirs)}") as heard:
        assert heard.status == 404


async def test_it_ends_with_the_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "CHECK_SECONDS", 0.0)
    tokens = {**TOKENS}
    monkeypatch.setattr("tests.support.ui_world.TOKENS", tokens)
    async with running(world) as app, listening(app, "alice") as heard:
        del tokens["alice"]
        world.live.tell(ALICE, MINE)
        await heard.until(lambda: heard.ended)


async def test_it_ends_with_a_word_once_the_batchjob_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "CHECK_SECONDS", 0.0)
    async with running(world) as app, listening(app, "alice", f"job={MINE}") as page:
        namespace, _, name = MINE.partition(".")
        del world.jobs[namespace, name]
        async with asyncio.timeout(20):
            while not page.ended:  # what is told before its place in the stream is known does not wake it
                world.live.tell(ALICE, MINE)
                await asyncio.sleep(0.02)
        assert b"event: gone\n" in page.text


async def test_it_ends_when_the_gateway_does(world: World) -> None:
    async with running(world) as app, listening(app, "alice") as heard:
        app.state.hub.leave()
        await heard.until(lambda: heard.ended)
