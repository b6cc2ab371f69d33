"""`batchjob migrate bullmq`, on queues that BullMQ's own client filled: what comes over, and nothing is changed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from bullmq import Queue
from redis.asyncio import Redis

from batchjob.api.source import MAX_INLINE_BYTES
from batchjob.cli import execute
from tests.support.manifests import noop
from tests.support.redis_server import RedisServer

Migrate = Callable[..., tuple[int, list[dict[str, Any]], str]]
NAME: Final = "letters"


@pytest.fixture
async def queue(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Queue]:
    assert await redis.dbsize() == 0
    found = Queue(NAME, {"connection": redis_server.url})
    yield found
    await found.close()


@pytest.fixture
def migrate(redis_server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Migrate:
    template = tmp_path / "template.yaml"
    body = noop("letters", {})
    del body["spec"]["source"]
    template.write_text(yaml.safe_dump(body))

    def run(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        capsys.readouterr()
        whole = ["migrate", "bullmq", "--redis", redis_server.url, "--queue", NAME, "--template", str(template)]
        code = execute([*whole, *arguments])
        found = capsys.readouterr()
        return code, [one for one in yaml.safe_load_all(found.out) if one], found.err

    return run


def items(manifest: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(item["id"], json.loads(item["json"])) for item in manifest["spec"]["source"]["items"]]


async def test_jobs_that_wait_come_over_in_their_order_and_stay_where_they_are(
    queue: Queue, migrate: Migrate, redis: Redis
) -> None:
    await queue.add("mail", {"to": "a@example.com", "tags": ["x", {"deep": 1}]})
    await queue.add("mail", "only a text", {"jobId": "of-my-own"})
    await queue.add("mail", {"to": "urgent"}, {"priority": 2})
    await queue.add("mail", {"to": "more urgent"}, {"priority": 1})
    await queue.add("sms", {"to": "+49"})
    await queue.add("mail", {"to": "later"}, {"delay": 3_600_000})
    before = await everything(redis)
    code, [manifest], told = await asyncio.to_thread(migrate, "--job", "mail")
    assert (code, manifest["metadata"]["name"], manifest["spec"]["type"]) == (0, "letters", "custom")
    assert [data for _, data in items(manifest)] == [
        {"to": "a@example.com", "tags": ["x", {"deep": 1}]},
        {"value": "only a text"},
        {"to": "more urgent"},
        {"to": "urgent"},
    ]
    assert items(manifest)[1][0] == "of-my-own"
    assert "letters: 4 jobs of mail (4), sms (1)" in told
    assert "the queue is not paused: its workers may take these jobs too" in told
    assert await everything(redis) == before


async def test_a_paused_queue_is_read_too_and_what_is_at_work_is_told(
    queue: Queue, migrate: Migrate, redis: Redis
) -> None:
    await queue.add("mail", {"to": "a"})
    await redis.rpush(f"bull:{NAME}:active", "99")
    await queue.pause()
    code, [manifest], told = await asyncio.to_thread(migrate)
    assert (code, [data for _, data in items(manifest)]) == (0, [{"to": "a"}])
    assert "not paused" not in told
    assert "not read: 1 active" in told


async def test_delayed_jobs_begin_in_their_minute_and_never_earlier(queue: Queue, migrate: Migrate) -> None:
    due = time.time() + 3600
    for number in range(3):
        await queue.add("mail", {"n": number}, {"delay": 3_600_000 + number * 86_400_000})
    elapsed = time.time() + 3600 - due  # each is due at most so much later
    code, manifests, _ = await asyncio.to_thread(migrate, "--state", "delayed")
    assert (code, [one["metadata"]["name"] for one in manifests]) == (0, ["letters-1", "letters-2", "letters-3"])
    for number, manifest in enumerate(manifests):
        begins = time.mktime(time.strptime(manifest["spec"]["startAfter"] + "UTC", "%Y-%m-%dT%H:%M:%SZ%Z"))
        begins -= time.timezone
        assert 0 <= begins - (due + number * 86_400) <= 60 + elapsed
        assert items(manifest)[0][1] == {"n": number}


async def test_many_jobs_are_several_batchjobs_or_a_file(queue: Queue, migrate: Migrate, tmp_path: Path) -> None:
    await queue.addBulk([{"name": "mail", "data": {"n": n, "text": "x" * 100}} for n in range(1500)])
    code, manifests, _ = await asyncio.to_thread(migrate)
    assert code == 0
    together = [data["n"] for manifest in manifests for _, data in items(manifest)]
    assert together == list(range(1500))
    sizes = [len(json.dumps(manifest["spec"]["source"]["items"])) for manifest in manifests]
    assert MAX_INLINE_BYTES * 0.9 < max(sizes) <= MAX_INLINE_BYTES
    file = tmp_path / "letters.jsonl"
    code, [manifest], _ = await asyncio.to_thread(migrate, "--items", str(file), "s3://b/letters.jsonl")
    assert manifest["spec"]["source"] == {"uri": {"url": "s3://b/letters.jsonl", "format": "items"}}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["data"]["n"] for line in lines] == list(range(1500))
    code, _, told = await asyncio.to_thread(migrate, "--items", str(file), "s3://b/letters.jsonl")
    assert (code, "is there already" in told) == (1, True)


async def test_what_cannot_come_over_is_said(queue: Queue, migrate: Migrate, redis: Redis) -> None:
    code, _, told = await asyncio.to_thread(migrate)
    assert (code, "letters has no such jobs: is it bull:letters" in told) == (1, True)
    await queue.add("mail", {"text": "x" * 5000})
    code, _, told = await asyncio.to_thread(migrate)
    assert (code, "spec.source.items[0].json" in told) == (1, True)
    await redis.hset(f"bull:{NAME}:1", "data", "{no json")
    code, _, told = await asyncio.to_thread(migrate)
    assert (code, "the job 1: its data is no JSON" in told) == (1, True)
    code, _, told = await asyncio.to_thread(migrate, "--redis", "redis://127.0.0.1:1")
    assert (code, "BullMQ's Redis: " in told) == (1, True)


async def everything(redis: Redis) -> dict[str, bytes]:
    """All that is in the server."""
    return {str(key): await redis.dump(key) or b"" for key in await redis.keys("*")}
