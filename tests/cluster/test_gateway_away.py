"""What the gateway answers while the store or the API server is away: what it can, and a 503 where it cannot."""

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx2

from batchjob.kube import Access
from tests.support.gateway import nobody
from tests.support.gateway_world import TEAM, World, bearer
from tests.support.redis_server import RedisServer

JOBS: Final = "/api/v1/batch-jobs"
NOOP: Final[dict[str, Any]] = {
    "type": "custom",
    "custom": {"processor": "noop"},
    "items": [{"id": "1", "data": {"n": 1}}],
}
ALICE: Final = bearer("alice")
UNUSED: Final = "redis://127.0.0.1:1/0"


def is_unavailable(answer: httpx2.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["retry-after"]) > 0 and "127.0.0.1" not in answer.text


async def test_without_the_store_what_the_custom_resource_tells_is_still_told(world: World) -> None:
    async with world.gateway() as client:
        job = (await client.post(JOBS, json=NOOP, headers=ALICE)).json()["jobId"]
    async with world.gateway(store_url=UNUSED) as client:
        for path in (f"{JOBS}/{job}", "/api/v1/queues", "/api/v1/schedules"):
            assert (await client.get(path, headers=ALICE)).status_code == 200, path
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get(f"{JOBS}/{job}", headers=bearer("bob"))).status_code == 404
        for room in ("items", "items?status=succeeded", "errors", "results"):
            assert is_unavailable(await client.get(f"{JOBS}/{job}/{room}", headers=ALICE)), room
        for path in (JOBS, f"{JOBS}/{job}/cancel", f"{JOBS}/{job}/redrive", "/api/v1/schedules"):
            assert is_unavailable(await client.post(path, json=NOOP, headers=ALICE)), path


async def test_a_store_that_comes_back_is_used_again(world: World, tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    try:
        async with world.gateway(store_url=server.url) as client:
            assert (await client.post(JOBS, json=NOOP, headers=ALICE)).status_code == 202
            server.kill()
            assert is_unavailable(await client.post(JOBS, json=NOOP, headers=ALICE))
            server.start()
            async with asyncio.timeout(60):
                while (await client.post(JOBS, json=NOOP, headers=ALICE)).status_code != 202:
                    pass  # each asking takes its time
    finally:
        server.kill()


async def test_without_the_api_server_everything_is_a_503_and_the_process_lives(world: World) -> None:
    async with world.gateway(access=nobody()) as client:
        assert is_unavailable(await client.get(f"{JOBS}/{TEAM}.x", headers=ALICE))
        assert is_unavailable(await client.post(JOBS, json=NOOP, headers=ALICE))
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get(f"{JOBS}/{TEAM}.x")).status_code == 401, "who sends no token needs nobody to say so"


async def test_a_run_that_has_not_begun_has_no_results_and_one_that_is_forgotten_says_so(world: World) -> None:
    async with world.gateway() as client:
        job = (await client.post(JOBS, json=NOOP, headers=ALICE)).json()["jobId"]
        none = await client.get(f"{JOBS}/{job}/results", headers=ALICE)
        assert (none.status_code, none.text) == (200, "")
        for status in ("failed", "succeeded"):
            items = await client.get(f"{JOBS}/{job}/items", params={"status": status}, headers=ALICE)
            assert (items.json()["items"], items.json()["next"]) == ([], None)
        begun = '{"status": {"storeEpoch": "e1", "counts": {"total": 200}}}'
        name = job.partition(".")[2]
        world.team("patch", "batchjob", name, "--subresource=status", "--type=merge", "-p", begun)
        for path in ("results", "items?status=succeeded"):
            gone = await client.get(f"{JOBS}/{job}/{path}", headers=ALICE)
            assert gone.status_code == 410, gone.text
            assert "forgotten" in gone.json()["detail"]


async def test_an_account_that_may_not_ask_for_rights_tells_nobody_else(world: World) -> None:
    token = world.team("create", "token", "default").strip()
    access = Access.from_kubeconfig(world.kubeconfig)
    poor = Access(access.server, ca_data=access.ca_data, fixed_token=token)
    async with world.gateway(access=poor, api_keys_secret=None) as client:
        answer = await client.get(f"{JOBS}/{TEAM}.x", headers={"Authorization": f"Bearer {token}"})
        assert is_unavailable(answer)
        assert "serviceaccount" not in answer.text
