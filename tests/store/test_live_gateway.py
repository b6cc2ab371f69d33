"""Live events through the real gateway: only one's own, without a gap or a repeat over a kill, and no stuck client."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect

from batchjob.core.events import LiveType
from batchjob.store import Store
from tests.prove.gateway import watches
from tests.support.frames import check_frame
from tests.support.live_gateway import ApiServer, GatewayProcess, Teller, sse_events, token
from tests.support.redis_server import RedisServer
from tests.support.workers import wait_for

PROGRESS = LiveType.PROGRESS


@pytest.fixture(scope="module")
def api() -> ApiServer:
    server = ApiServer()
    for name, owner in (("a", "alice"), ("b", "bob"), ("c", "alice")):
        server.add(name, owner, phase="Running")
    condition = {"type": "Failed", "status": "True", "reason": "ItemsFailed", "message": "7 of 9 items failed"}
    conditions = [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]
    counts = {"total": 9, "succeeded": 2, "failed": 7}
    server.add("old", "alice", phase="Failed", counts=counts, conditions=conditions)
    return server


@pytest.fixture(scope="module")
def gateway(
    api: ApiServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One for all tests; whoever kills it starts it again."""
    with api.serving() as url:
        process = GatewayProcess(url, redis_server.url, tmp_path_factory.mktemp("gateway")).start()
        yield process
        process.kill()


@pytest.fixture
def teller(store: Store) -> Teller:
    return Teller(store)


async def receive(socket: ClientConnection, most: int) -> list[dict[str, Any]]:
    found = list[dict[str, Any]]()
    async with asyncio.timeout(60):
        while len(found) < most:
            message = json.loads(await socket.recv())
            if message["type"] != "heartbeat":
                found.append(message)
    return found


async def closed(socket: ClientConnection) -> int | None:
    """The code with which the gateway closes it."""
    await asyncio.wait_for(socket.wait_closed(), 60)
    return socket.close_code


async def test_an_owner_sees_all_of_theirs_and_nothing_of_others(gateway: GatewayProcess, teller: Teller) -> None:
    async with (
        await gateway.watch("alice") as alice,
        await gateway.watch("bob") as bob,
        await gateway.watch("admin", "?owner=alice") as admin,
    ):
        await teller.tell("b", LiveType.QUEUED, owner="bob")
        await teller.tell("a", LiveType.STARTED)
        await teller.tell("c", PROGRESS, progress=50.0, processed=1, total=2)
        mine = await receive(alice, 2)
        assert [event["jobId"] for event in mine] == ["team.a", "team.c"]
        assert mine[1].keys() == {"id", "type", "time", "jobId", "seq", "data"}
        assert mine[1]["type"] == "batch:progress"
        assert mine[1]["data"] == {"jobId": "team.c", "progress": 50.0, "processed": 1, "total": 2}
        assert await receive(admin, 2) == mine
        assert [event["jobId"] for event in await receive(bob, 1)] == ["team.b"]


async def test_who_may_not_watch_is_told_by_a_code(gateway: GatewayProcess) -> None:
    async def code(first: str, query: str = "") -> int | None:
        async with connect(f"ws://127.0.0.1:{gateway.port}/ws{query}", proxy=None) as socket:
            await socket.send(first)
            return await closed(socket)

    alice = json.dumps({"token": token("alice")})
    assert await code("hello") == 4400
    assert await code(alice, "?after=yesterday") == 4400
    assert await code(alice, "?after=%D9%A1") == 4400, "a digit, and none of Redis'"
    assert await code(json.dumps({"token": "bj_alice_" + "y" * 32})) == 4401
    assert await code(alice, "?owner=bob") == 4404
    assert await code(alice, "?jobId=team.b") == await code(alice, "?jobId=team.unknown") == 4404
    assert await code("x" * 100_000) == 1009


async def test_a_token_in_the_header_needs_no_first_message_and_one_in_the_url_is_none(
    gateway: GatewayProcess, teller: Teller
) -> None:
    url, headers = f"ws://127.0.0.1:{gateway.port}/ws", {"Authorization": f"Bearer {token('alice')}"}
    async with connect(f"{url}?jobId=team.a", proxy=None, additional_headers=headers) as socket:
        assert json.loads(await socket.recv())["data"] == {"owner": "alice", "namespace": "team"}
        await teller.tell("c", PROGRESS)
        await teller.tell("a", PROGRESS)
        assert [event["jobId"] for event in await receive(socket, 1)] == ["team.a"]
    async with connect(f"{url}?token={token('alice')}", proxy=None) as socket:
        await socket.send("{}")
        assert await closed(socket) == 4400


async def test_sse_tells_a_batchjob_from_its_beginning_and_ends_with_it(
    gateway: GatewayProcess, teller: Teller
) -> None:
    await teller.tell("a", LiveType.QUEUED, LiveType.STARTED)
    seen = []
    async with gateway.events("alice", "team.a") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        async for event in sse_events(response):
            seen.append(event)
            if len(seen) == 2:
                await teller.tell("c", PROGRESS)
                await teller.tell("a", PROGRESS, LiveType.COMPLETE, result={"processed": 1})
    assert [event["event"] for event in seen] == ["batch:queued", "batch:started", "batch:progress", "batch:complete"]
    bodies = [json.loads(event["data"]) for event in seen]
    assert [body["id"] for body in bodies] == [event["id"] for event in seen]
    assert bodies[3]["data"] == {"jobId": "team.a", "result": {"processed": 1}}
    async with gateway.events("alice", "team.a", seen[1]["id"]) as response:
        assert [event async for event in sse_events(response)] == seen[2:]
    async with gateway.events("alice", "team.a", seen[3]["id"]) as response:
        assert response.status_code == 204, "an EventSource has nothing to come back for"


async def test_one_that_is_made_again_under_its_name_is_not_told_with_the_events_of_the_former(
    gateway: GatewayProcess, teller: Teller
) -> None:
    await teller.tell("a", LiveType.QUEUED, LiveType.COMPLETE, uid="a-before", result={"processed": 9})
    await teller.tell("a", LiveType.QUEUED)
    seen = []
    async with gateway.events("alice", "team.a") as response:
        async for event in sse_events(response):
            seen.append(event)
            if len(seen) == 1:
                await teller.tell("a", LiveType.COMPLETE, result={"processed": 1})
    assert [event["event"] for event in seen] == ["batch:queued", "batch:complete"]
    assert json.loads(seen[1]["data"])["data"]["result"] == {"processed": 1}


async def test_one_that_ended_long_ago_says_so_at_once(gateway: GatewayProcess) -> None:
    async with gateway.events("alice", "team.old") as response:
        [event] = [event async for event in sse_events(response)]
    assert event["event"] == "batch:error"
    data = check_frame(event["data"])["data"]
    assert (data["jobId"], data["error"], data["result"]["failed"]) == ("team.old", "7 of 9 items failed", 7)
    async with gateway.events("alice", "team.old", event["id"]) as response:
        assert response.status_code == 204, "an EventSource has nothing to come back for"
    async with gateway.events("alice", "team.old", "end-of-one-that-had-its-name-before") as response:
        assert [again["id"] async for again in sse_events(response)] == [event["id"]]


@pytest.mark.parametrize(
    ("user", "job", "last", "status"),
    [
        ("alice", "team.b", None, 404),
        ("alice", "team.unknown", None, 404),
        ("alice", "nothing", None, 404),
        ("nobody", "team.a", None, 401),
        ("alice", "team.a", "yesterday", 422),
    ],
)
async def test_sse_refuses_with_a_problem(
    gateway: GatewayProcess, user: str, job: str, last: str | None, status: int
) -> None:
    async with gateway.events(user, job, last) as response:
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"


async def test_over_kills_of_the_gateway_each_event_is_seen_once(gateway: GatewayProcess, teller: Teller) -> None:
    facts = await watches.trial(gateway, teller, "a", kills=3, seed=1)
    assert facts["watches_broken_off"] >= 4, "no kill hit anybody who watched"


async def test_a_stuck_client_is_let_go_and_others_go_on(gateway: GatewayProcess, teller: Teller) -> None:
    async with httpx2.AsyncClient() as client:
        text = (await client.get(f"{gateway.url}/metrics")).text
    dropped = float(text.partition("\nbatchjob_live_dropped_total ")[2].split()[0])
    stuck = await gateway.watch("alice", max_queue=1, ping_interval=None)
    async with await gateway.watch("alice") as quick:
        for _ in range(20):  # more than the buffers of both sides hold
            await teller.tell("a", *[PROGRESS] * 50, said="x" * 20_000)
            assert len(await receive(quick, 50)) == 50

        async def gone() -> bool | None:
            async with httpx2.AsyncClient() as client:
                text = (await client.get(f"{gateway.url}/metrics")).text
            return (f"batchjob_live_dropped_total {dropped + 1:.1f}" in text) or None

        await wait_for(gone, "the stuck client to be let go")
    stuck.transport.abort()


async def test_while_kubernetes_is_away_who_watches_hears_on_and_who_comes_is_told_to_come_back(
    gateway: GatewayProcess, api: ApiServer, teller: Teller
) -> None:
    async with await gateway.watch("alice") as alice, gateway.events("alice", "team.a") as events:
        api.away = True
        try:
            await teller.tell("a", PROGRESS)
            [heard] = await receive(alice, 1)
            assert (heard["jobId"], heard["type"]) == ("team.a", PROGRESS)
            async with asyncio.timeout(60):
                assert (await anext(sse_events(events)))["id"] == heard["id"]
            async with connect(f"ws://127.0.0.1:{gateway.port}/ws?jobId=team.a", proxy=None) as late:
                await late.send(json.dumps({"token": token("alice")}))
                assert await closed(late) == 1013
        finally:
            api.away = False
        await teller.tell("a", PROGRESS)
        assert [event["jobId"] for event in await receive(alice, 1)] == ["team.a"]


async def test_a_gateway_that_is_stopped_sends_all_away_at_once(gateway: GatewayProcess, teller: Teller) -> None:
    async with await gateway.watch("alice") as socket, gateway.events("alice", "team.a") as response:
        await teller.tell("a", PROGRESS)
        await receive(socket, 1)
        stopping = asyncio.create_task(gateway.stop())
        assert await closed(socket) == 1012
        assert len([event async for event in sse_events(response)]) == 1
        assert await stopping == 0
    await asyncio.to_thread(gateway.start)
    assert "Traceback" not in gateway.said()
