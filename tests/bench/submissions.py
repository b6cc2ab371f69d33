"""How long a submission takes: 100 sentences over the earlier route, from the request to the 202 with the job's id.

The gateway as it runs in a pod, a real API server and a real Redis; the peer is the same client that makes the very
BatchJob at the API server. No operator runs, so nothing else asks it.
"""

import asyncio
import copy
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2

from batchjob.kube import BATCH_JOBS, Access, Kube
from tests.bench.figures import Line, cpu_seconds, percentile
from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.crds import install_crds
from tests.support.gateway_process import GatewayProcess
from tests.support.gateway_world import TEAM, World, bearer
from tests.support.kubectl import Kubectl
from tests.support.redis_server import RedisServer
from tests.support.tenancy import SEED

SUBMISSIONS: Final = 300
WARM: Final = 20  # before any is counted: connections, rights that are remembered
ITEMS: Final = 100
TEMPLATE: Final = "aiBatch: {instructions: Say how it is., model: {name: m, baseUrl: http://m/v1}}\n"
SCHEMA: Final = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}


def measure(scale: float) -> Iterator[Line]:
    """A line for each of both, one at a time."""
    with tempfile.TemporaryDirectory() as name, ControlPlane(Path(name) / "control-plane") as control_plane:
        folder = Path(name)
        admin = Kubectl(kubectl(), control_plane.kubeconfig)
        install_crds(admin)
        redis = RedisServer(folder).start()
        world = World(admin, control_plane.kubeconfig, redis.url, folder)
        template = folder / "annotator.yaml"
        template.write_text(TEMPLATE)
        gateway = GatewayProcess(world, folder, ANNOTATOR_FILE=str(template), AI_SUBMITS_PER_MINUTE="100000")
        try:
            yield from asyncio.run(_measure(world, gateway, max(20, round(SUBMISSIONS * scale))))
        finally:
            gateway.process.kill()
            gateway.process.wait()
            redis.kill()


async def _measure(world: World, gateway: GatewayProcess, times: int) -> list[Line]:
    body = {"items": [f"Sentence {number} of a review: not bad at all." for number in range(ITEMS)]}
    headers, url = bearer("alice"), f"http://127.0.0.1:{gateway.port}"
    async with (
        httpx2.AsyncClient(base_url=url, headers=headers, timeout=60) as client,
        Kube(Access.from_kubeconfig(world.kubeconfig)) as kube,
    ):

        async def submit(_: int) -> str:
            answer = await client.post(SEED, json=body | {"formSchema": SCHEMA})
            if answer.status_code != httpx2.codes.ACCEPTED:
                raise RuntimeError(f"{answer.status_code}: {answer.text}")
            return str(answer.json()["jobId"])

        made: dict[str, Any] = await kube.get(BATCH_JOBS, TEAM, (await submit(0)).partition(".")[2])

        async def create(number: int) -> None:
            raw = copy.deepcopy({part: made[part] for part in ("apiVersion", "kind", "spec")})
            await kube.create(BATCH_JOBS, TEAM, raw | {"metadata": {"name": f"raw-{number}"}})

        before = cpu_seconds(gateway.process.pid)
        ours = await _time(submit, times)
        cpu = (cpu_seconds(gateway.process.pid) - before) / (times + WARM)
        raw = await _time(create, times)
    return [
        {"figure": "submission", "who": "gateway", "cpu_ms": 1000 * cpu, **ours},
        {"figure": "submission", "who": "api server", **raw},
    ]


async def _time(call: Callable[[int], Awaitable[Any]], times: int) -> Line:
    taken: list[float] = []
    for number in range(times + WARM):
        began = time.perf_counter()
        await call(number)
        taken.append(1000 * (time.perf_counter() - began))
    kept = taken[WARM:]
    return {"times": times, "items": ITEMS, "p50_ms": percentile(kept, 50), "p95_ms": percentile(kept, 95)}
