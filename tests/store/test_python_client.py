"""The Python client against the real gateway: replies that are lost, refusals that pass, and streams that break."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from redis import Redis

from batchjob import AsyncClient, Client
from batchjob.client import NoAnswer, NotFound, RateLimited, Retries, Unauthenticated, WaitTimeout, sync_client
from batchjob.core.events import LiveType
from batchjob.store import Store
from tests.support.live_gateway import ApiServer, GatewayProcess, Teller, token
from tests.support.redis_server import RedisServer
from tests.support.workers import wait_for

NOOP: dict[str, Any] = {"custom": {"processor": "noop"}, "items": [("1", {"text": "Hello"})]}


@pytest.fixture(scope="module")
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture(scope="module")
def gateway(
    api: ApiServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One for all tests; whoever kills it starts it again."""
    with api.serving() as url:
        folder = tmp_path_factory.mktemp("gateway")
        process = GatewayProcess(url, redis_server.url, folder, SUBMITS_PER_MINUTE="5").start()
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def nothing_there(api: ApiServer, redis_server: RedisServer) -> None:
    api.batch_jobs.clear()
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()


@pytest.fixture
def teller(store: Store) -> Teller:
    return Teller(store)


class Losing(httpx2.HTTPTransport):
    """Lets requests through, and loses the first replies."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.lost = lost
        self.sent: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        response = super().handle_request(request)
        if len(self.sent) <= self.lost:
            response.read()
            raise httpx2.ReadError("the connection was reset", request=request)
        return response


@contextmanager
def client_of(gateway: GatewayProcess, user: str = "alice", **options: Any) -> Iterator[Client]:
    with Client(gateway.url, token=token(user), **options) as client:
        yield client


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[float]]:
    """Have something happen while the client pauses, in place of the time; the pauses are kept."""

    def during(happens: Callable[[], Any]) -> list[float]:
        kept: list[float] = []

        def pause(seconds: float) -> None:
            kept.append(seconds)
            happens()

        monkeypatch.setattr(sync_client, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
        return kept

    return during


def test_a_submission_whose_reply_was_lost_twice_has_made_one_batchjob(gateway: GatewayProcess, api: ApiServer) -> None:
    transport = Losing(2)
    with client_of(gateway, transport=transport, retries=Retries(first_seconds=0.01)) as client:
        made = client.submit("custom", **NOOP)
        assert [*api.batch_jobs] == [made.job_id.removeprefix("team.")]
        assert client.get(made.job_id).data["source"]["items"] == [{"id": "1", "data": {"text": "Hello"}}]
        assert client.submit("custom", **NOOP).job_id != made.job_id, "another one has a key of its own"
    keys = [request.headers["idempotency-key"] for request in transport.sent if request.method == "POST"]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_one_with_a_name_is_not_sent_twice(gateway: GatewayProcess, api: ApiServer) -> None:
    with (
        client_of(gateway, transport=Losing(1)) as client,
        pytest.raises(NoAnswer, match=r"POST /api/v1/batch-jobs at .*: ReadError: the connection was reset"),
    ):
        client.submit("custom", name="mine", **NOOP)
    assert [*api.batch_jobs] == ["mine"]


def test_who_asks_too_often_waits_as_long_as_the_gateway_says(
    gateway: GatewayProcess, redis_server: RedisServer, pauses: Callable[[Callable[[], Any]], list[float]]
) -> None:
    def window_ends() -> None:
        with Redis.from_url(redis_server.url) as redis:
            redis.delete(*redis.keys("bj:limit:*"))

    kept = pauses(window_ends)
    with client_of(gateway) as client:
        made = {client.submit("custom", **NOOP).job_id for _ in range(6)}
    assert len(made) == 6
    [pause] = kept
    assert 1 <= pause <= 61
    with client_of(gateway, retries=Retries(tries=1)) as client:
        for _ in range(4):  # with the sixth of before
            client.submit("custom", **NOOP)
        with pytest.raises(RateLimited, match="5 requests a minute") as hit:
            client.submit("custom", **NOOP)
    assert 1 <= (hit.value.retry_after_seconds or 0) <= 60


def test_a_gateway_without_kubernetes_is_asked_again_once_it_says(
    gateway: GatewayProcess, api: ApiServer, pauses: Callable[[Callable[[], Any]], list[float]]
) -> None:
    kept = pauses(lambda: setattr(api, "away", False))
    with client_of(gateway, user="admin") as client:
        api.away = True
        try:
            made = client.submit("custom", **NOOP)
        finally:
            api.away = False
    assert made.job_id.removeprefix("team.") in api.batch_jobs
    assert len(kept) == 1
    assert 1 <= kept[0] <= 6, "as its Retry-After says, and not as the first pause of its own"


def test_a_gateway_that_is_not_there_is_no_answer_and_was_not_reached(gateway: GatewayProcess) -> None:
    with (
        Client("http://127.0.0.1:1", token=token("alice"), retries=Retries(2, 0.01)) as client,
        pytest.raises(NoAnswer) as raised,
    ):
        client.submit("custom", name="x", **NOOP)
    assert raised.value.reached is False
    with client_of(gateway, user="nobody") as unknown, pytest.raises(Unauthenticated):
        unknown.get("team.a")
    with client_of(gateway) as alice, pytest.raises(NotFound):
        alice.get("team.never-made")


async def test_over_kills_of_the_gateway_each_event_comes_once_and_wait_ends(
    gateway: GatewayProcess, api: ApiServer, teller: Teller
) -> None:
    total, seen = 60, list[int]()
    api.add("a", "alice", phase="Running")

    async def tell() -> None:
        for number in range(total):
            await teller.tell("a", LiveType.PROGRESS, processed=number, total=total, progress=1.0)
            await asyncio.sleep(0.01)  # the pace of what happens, not a wait for anything
        await told_by_all()
        api.add("a", "alice", phase="Succeeded", counts={"total": total, "succeeded": total})
        await teller.tell("a", LiveType.COMPLETE, result={"processed": total, "total": total})

    async def told_by_all() -> None:
        async def look() -> bool | None:
            return len(seen) == total or None

        await wait_for(look, "all events to be seen", 240)  # over the starts of two gateways

    def wait_blocking() -> str:
        with client_of(gateway) as blocking:
            return blocking.wait("team.a", timeout=280).state

    async with AsyncClient(gateway.url, token=token("alice")) as client:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell())
            waits = [tasks.create_task(asyncio.to_thread(wait_blocking)), tasks.create_task(_state(client))]
            async for event in client.events("team.a"):
                seen.append(event.seq)
                if len(seen) in {10, 40}:
                    gateway.kill()
                    await asyncio.to_thread(gateway.start)
        assert seen == list(range(1, total + 2))
        assert [task.result() for task in waits] == ["succeeded", "succeeded"]


async def _state(client: AsyncClient) -> str:
    return (await client.wait("team.a", timeout=280)).state


async def test_progress_is_told_to_the_end(gateway: GatewayProcess, api: ApiServer, teller: Teller) -> None:
    api.add("a", "alice", phase="Running")
    await teller.tell("a", LiveType.STARTED)
    await teller.tell("a", LiveType.PROGRESS, progress=50.0, processed=1, total=2)
    await teller.tell("a", LiveType.ERROR, error="it failed", result={"processed": 2, "total": 2, "failed": 1})
    async with AsyncClient(gateway.url, token=token("alice")) as client:
        found = [(one.percent, one.processed, one.total) async for one in client.progress("team.a")]
    assert found == [(50.0, 1, 2), (100.0, 2, 2)]


async def test_what_does_not_end_in_time_is_said_in_time(gateway: GatewayProcess, api: ApiServer) -> None:
    api.add("a", "alice", phase="Running")
    began = time.monotonic()
    async with AsyncClient(gateway.url, token=token("alice")) as client:
        with pytest.raises(WaitTimeout, match=r"team\.a had not ended within 2 s"):
            await client.wait("team.a", timeout=2)
    assert time.monotonic() - began >= 2


def test_a_token_that_is_written_anew_is_read_anew(gateway: GatewayProcess, api: ApiServer, tmp_path: Path) -> None:
    api.add("a", "alice", phase="Running")
    file = tmp_path / "token"
    file.write_text(token("bob"))
    with Client(gateway.url, token=file) as client:
        with pytest.raises(NotFound):
            client.get("team.a")
        file.write_text(token("alice") + "\n")
        assert client.get("team.a").state == "running"
