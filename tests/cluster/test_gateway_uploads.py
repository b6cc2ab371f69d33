"""Large inputs over HTTP with a real API server and an S3 store: durable before the 202, or nothing at all."""

import json
import logging
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from batchjob.api.source import OnBadItem, SourceFormat, UriSource
from batchjob.gateway.staging import GRACE_SECONDS, Staging
from batchjob.kube import Access, Kube
from batchjob.worker.sources.file import FileSource
from batchjob.worker.sources.opening import open_reader
from tests.support.gateway import gateway_settings
from tests.support.gateway_process import GatewayProcess
from tests.support.gateway_world import TEAM, World, bearer
from tests.support.kubectl import wait_until
from tests.support.neighbours.client import Neighbours, local_neighbours
from tests.support.staging_bucket import BUCKET, Bucket

JOBS: Final = "/api/v1/batch-jobs"
NOOP: Final[dict[str, Any]] = {"type": "custom", "custom": {"processor": "noop"}}
LINES: Final = {**bearer("alice"), "Content-Type": "application/x-ndjson"}
MEGABYTES: Final = 200
ROOM_MEGABYTES: Final = 96  # for the parts that the bucket takes at once, and what Python does not give back


def items_of(count: int) -> list[dict[str, Any]]:
    return [{"id": f"i{place}", "data": {"id": place, "text": "word " * 20}} for place in range(count)]


def lines_of(items: list[Any], fields: dict[str, Any] = NOOP) -> bytes:
    return "\n".join(json.dumps(value) for value in (fields, *items)).encode()


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with local_neighbours(tmp_path_factory.mktemp("neighbours")) as started:
        yield started


@pytest.fixture
def bucket(neighbours: Neighbours, tmp_path: Path) -> Iterator[Bucket]:
    yield Bucket(neighbours, tmp_path)
    neighbours.clear_faults()


@pytest.fixture
async def client(world: World, bucket: Bucket) -> AsyncIterator[httpx2.AsyncClient]:
    async with world.gateway(**bucket.settings) as found:
        yield found


def jobs_of(world: World) -> set[str]:
    return {job["metadata"]["name"] for job in world.team.items("batchjobs")}


async def test_a_worker_reads_from_the_bucket_what_was_sent(
    client: httpx2.AsyncClient, world: World, bucket: Bucket
) -> None:
    items = items_of(6000)
    answer = await client.post(JOBS, content=lines_of(items), headers=LINES)
    assert answer.status_code == 202, answer.text
    _, _, name = answer.json()["jobId"].partition(".")
    uri = world.team.get("batchjob", name)["spec"]["source"]["uri"]
    [key] = bucket.keys
    assert uri == {
        "url": f"s3://{BUCKET}/{key}",
        "endpoint": bucket.settings["staging_endpoint"],
        "format": "items",
        "credentialsSecretRef": {"name": "batchjob-staging"},
    }
    assert re.fullmatch(rf"{bucket.prefix}/uploads/{TEAM}/{name}\.[0-9a-f]+\.[0-9a-f]{{32}}\.jsonl", key)
    references = bucket.references / "credentials", bucket.references / "ca"
    reader = open_reader(UriSource.model_validate(uri), "spec.source.uri", [], references)
    source = FileSource(reader, SourceFormat(uri["format"]), "id", "spec.source.uri", OnBadItem.FAIL)
    records = [record async for some in source.records() for record in some]
    assert [{"id": record.id, "data": record.data} for record in records] == items


async def test_a_large_array_of_items_is_staged_too(client: httpx2.AsyncClient, bucket: Bucket) -> None:
    items = items_of(6000)
    answer = await client.post(JOBS, json={"items": items, **NOOP}, headers=bearer("alice"))
    assert answer.status_code == 202, answer.text
    [key] = bucket.keys
    assert bucket.lines(key) == items


async def test_what_kubernetes_refuses_leaves_nothing_in_the_bucket(
    client: httpx2.AsyncClient, world: World, bucket: Bucket
) -> None:
    before = jobs_of(world)
    for body, pointer in (
        (lines_of(items_of(6000), {**NOOP, "nonsense": 1}), "/nonsense"),
        (lines_of(items_of(6000), {**NOOP, "labels": {"a": "b c"}}), "/labels"),
        (lines_of([*items_of(6000), {"id": "x"}]), ""),
    ):
        answer = await client.post(JOBS, content=body, headers=LINES)
        assert answer.status_code == 422, answer.text
        assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    nobody = await client.post(JOBS, content=lines_of(items_of(6000)), headers={**LINES, **bearer("nobody")})
    assert nobody.status_code == 403
    assert (bucket.keys, bucket.unfinished, jobs_of(world)) == ([], [], before)


@pytest.mark.parametrize("match", ["", "PUT"])  # from the first call on, and in the middle of it
async def test_without_its_bucket_an_upload_is_a_503_and_no_job(
    client: httpx2.AsyncClient, world: World, bucket: Bucket, match: str
) -> None:
    before = jobs_of(world)
    key = {"Idempotency-Key": f"away-{match}"}
    bucket.neighbours.set_faults("s3", [{"action": "status", "status": 503, "match": f"{match} {BUCKET}".strip()}])
    answer = await client.post(JOBS, content=lines_of(items_of(6000)), headers={**LINES, **key})
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True), answer.text
    assert "127.0.0.1" not in answer.text
    assert jobs_of(world) == before
    bucket.neighbours.clear_faults()
    assert (bucket.keys, match and bucket.unfinished) == ([], match and [])
    again = await client.post(JOBS, content=lines_of(items_of(6000)), headers={**LINES, **key})
    assert again.status_code == 202, again.text
    assert len(bucket.keys) == 1


async def test_a_key_knows_the_same_content_and_staged_objects_go_with_their_jobs(
    client: httpx2.AsyncClient, world: World, bucket: Bucket
) -> None:
    key = {"Idempotency-Key": bucket.prefix}
    body = lines_of(items_of(6000))
    first, again = [await client.post(JOBS, content=body, headers={**LINES, **key}) for _ in range(2)]
    assert (first.status_code, first.json()) == (202, again.json())
    other = await client.post(JOBS, content=lines_of(items_of(5999)), headers={**LINES, **key})
    assert (other.status_code, other.json()["type"].rpartition("/")[2]) == (422, "idempotency-key-reused")
    [staged] = bucket.keys
    later = time.time() + GRACE_SECONDS + 60
    staging = Staging.read(gateway_settings(**bucket.settings))
    assert staging
    async with Kube(Access.from_kubeconfig(world.kubeconfig)) as kube:
        assert await staging.sweep(kube, later) == 0
        assert bucket.keys == [staged]
        world.team("delete", "batchjob", first.json()["jobId"].partition(".")[2])
        assert await staging.sweep(kube, later) == 1
    assert bucket.keys == []


def memory_megabytes(process: int, field: str) -> float:
    [found] = re.findall(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found) / 1024


@pytest.mark.timeout(900)  # on a busy machine the S3 store alone takes minutes for so much
def test_memory_stays_constant_and_a_kill_leaves_nothing_half(world: World, bucket: Bucket, tmp_path: Path) -> None:
    gateway = GatewayProcess(world, tmp_path, **{name.upper(): value for name, value in bucket.settings.items()})
    url = f"http://127.0.0.1:{gateway.port}{JOBS}"
    block = b"".join(json.dumps(item).encode() + b"\n" for item in items_of(4000))
    stop = threading.Event()

    def blocks(megabytes: int) -> Iterator[bytes]:
        yield json.dumps(NOOP).encode() + b"\n"
        for _ in range(megabytes * 1_000_000 // len(block)):
            if stop.is_set():
                return
            yield block

    def send(megabytes: int, key: str) -> httpx2.Response:
        headers = {**LINES, "Idempotency-Key": f"{bucket.prefix}-{key}"}
        return httpx2.post(url, content=blocks(megabytes), headers=headers, timeout=600)

    def send_to_one_that_dies() -> None:
        with suppress(httpx2.TransportError):
            send(100_000, "killed")

    try:
        assert send(2, "warm").status_code == 202
        before = memory_megabytes(gateway.process.pid, "VmRSS")
        began = time.monotonic()
        answer = send(MEGABYTES, "large")
        assert answer.status_code == 202, answer.text
        grown = memory_megabytes(gateway.process.pid, "VmHWM") - before
        report = f"{MEGABYTES} MB in {time.monotonic() - began:.0f} s, {grown:.1f} MB of memory beside {before:.1f} MB"
        logging.getLogger(__name__).info(report)
        assert grown < ROOM_MEGABYTES, report
        before_jobs, keys = jobs_of(world), bucket.keys
        assert len(keys) == 2
        sender = threading.Thread(target=send_to_one_that_dies, daemon=True)
        sender.start()
        wait_until(lambda: bucket.unfinished, "the upload to have begun", timeout=60)
        gateway.process.send_signal(signal.SIGKILL)
        stop.set()
        sender.join(60)
        assert (bucket.keys, jobs_of(world)) == (keys, before_jobs), "nothing half is to be seen"
    finally:
        stop.set()
        gateway.process.kill()
        gateway.process.wait()
