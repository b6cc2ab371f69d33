"""The gateway's own user in the store: it can do all that the gateway does, and change nothing of anybody's."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from batchjob.api.run import StoreAccess
from batchjob.core.items import Failed, Outcome, Succeeded
from batchjob.core.queries import parse_query
from batchjob.core.records import RunRecord, owner_key
from batchjob.store import AuditEntry, AuditFilter, Store
from batchjob.store.access import gateway_rules
from batchjob.store.keys import run_key
from tests.support.redis_server import RedisServer
from tests.support.store_runs import Runs, commit

PASSWORD = "gateway-password"


async def run(client: Redis, *command: str | int) -> None:
    await client.execute_command(*command)  # type: ignore[no-untyped-call]  # the library's own lack


@pytest.fixture
async def gateway(redis: Redis, redis_server: RedisServer) -> AsyncIterator[Store]:
    """The store as the gateway sees it."""
    await run(redis, "ACL", "SETUSER", "batchjob-gateway", *gateway_rules(), f">{PASSWORD}")
    access = StoreAccess(url=redis_server.url, username="batchjob-gateway", password=PASSWORD)
    async with Store.connect(access, name="gateway") as found:
        yield found
    await run(redis, "ACL", "DELUSER", "batchjob-gateway")


async def test_it_can_do_all_that_the_gateway_does(gateway: Store, store: Store, redis: Redis, runs: Runs) -> None:
    uid = await runs.open(items=3, chunk=3)
    worker = store.run(uid, "w")
    [chunk] = (await worker.exchange([], 3, 3)).chunks
    outcomes: list[Outcome] = [Succeeded(0, b"1"), Failed(1, "refused", "no"), Succeeded(2, b"3")]
    await worker.exchange([commit(chunk, outcomes)], 0)
    now = time.time()
    ended: dict[str, Any] = {
        "type": "custom",
        "queue": "custom",
        "phase": "Succeeded",
        "created": now - 9,
        "ended": now - 1,
    }
    await store.history.put(RunRecord(uid=uid, namespace="team", name="a", owner="alice", **ended))
    await redis.script_flush()

    assert (await gateway.count("read:alice", 60))[0] == 1
    await gateway.audit.put(AuditEntry(verb="cancel", outcome="done", user="alice"))
    assert [one.user for one in (await gateway.audit.read(AuditFilter(), limit=5)).entries] == ["alice"]
    assert (await gateway.index.search(parse_query("status:failed"), now, owner="alice", limit=5)).rows == []
    await gateway.index.counts(["custom"], "alice")
    assert [one.uid async for one in gateway.history.read(0, now)] == [uid]
    owner = owner_key("team", "alice")
    last = await gateway.live.last_ring()
    assert await gateway.live.wait(last, 0.01) == (last, set())
    assert await gateway.live.read(owner, await gateway.live.last(owner)) == []
    assert [one.id for one in await gateway.dead_letters(uid, 5)] == ["item-1"]
    assert [one.position async for one in gateway.results(uid)] == [0, 2]


@pytest.mark.usefixtures("gateway")
async def test_it_can_change_nothing_of_anybodys(redis_server: RedisServer, runs: Runs) -> None:
    uid = await runs.open(items=3, chunk=3)
    async with Redis.from_url(redis_server.url, username="batchjob-gateway", password=PASSWORD) as client:
        for command in (
            ("HSET", run_key(uid, "counters"), "succeeded", 3),
            ("DEL", run_key(uid, "data")),
            ("EXPIRE", run_key(uid, "data"), 1),
            ("PEXPIRE", "bj:index:{jobs}:rows", 1),
            ("ZADD", "bj:dirty", 1, uid),
            ("XADD", "bj:live:{live}:bell", "*", "owner", "x"),
            ("DEL", "bj:audit:signed-in"),
            ("GET", "bj:limit:read:alice"),
            ("HSET", "bj:index:{jobs}:rows", "x", "y"),
            ("ACL", "LIST"),
            ("CONFIG", "GET", "*"),
            ("KEYS", "*"),
            ("FLUSHALL",),
            ("EVAL", "return 1", 0),
        ):
            with pytest.raises(NoPermissionError):
                await run(client, *command)


def test_the_page_about_the_api_has_its_rules() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "how-to", "http-api.md").read_text("utf-8")
    [written] = re.findall(r"^ACL SETUSER batchjob-gateway (.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = re.findall(r'"[^"]*"|\S+', written.replace("\\\n", " "))
    assert [word.strip('"') for word in found] == [*gateway_rules(), ">PASSWORD"]


def test_the_charts_own_redis_has_its_rules() -> None:
    chart = Path(__file__).parents[2].joinpath("charts", "batchjob-operator", "files", "gateway-user.txt")
    assert chart.read_text("utf-8").splitlines() == gateway_rules()
