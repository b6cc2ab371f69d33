"""/healthz (the loop turns), /readyz (Kubernetes answers and knows our kinds) and /metrics.

The store is not asked: without it, what needs the custom resource alone is still answered.
"""

import asyncio
import time
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from batchjob.errors import KubernetesError
from batchjob.gateway.doors import DoorsOf
from batchjob.kube import BATCH_JOBS, Kube
from batchjob.metrics import REGISTRIES, Process

READY_SECONDS: Final = 2.0  # for the answer: whoever probes gives up about then
KNOWN_SECONDS: Final = 1.0  # in which what Kubernetes said holds

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Whether the process lives."""
    return PlainTextResponse("ok")


@router.get("/readyz")
async def readyz(request: Request, doors: DoorsOf) -> PlainTextResponse:
    """Whether it can answer. Anybody may ask: Kubernetes is asked once a second, however many do."""
    state, now = request.app.state, time.monotonic()
    since, answer = getattr(state, "ready", (0.0, None))
    if answer is None or since + KNOWN_SECONDS <= now:
        answer = asyncio.ensure_future(_look(doors.kube))
        state.ready = now, answer
    return PlainTextResponse(*await asyncio.shield(answer))


async def _look(kube: Kube) -> tuple[str, int]:
    try:
        async with asyncio.timeout(READY_SECONDS):
            known = await kube.serves(BATCH_JOBS)
    except (KubernetesError, TimeoutError):
        return "Kubernetes does not answer", 503
    return ("ok", 200) if known else ("Kubernetes does not know BatchJobs: install the CRDs", 503)


@router.get("/metrics")
async def metrics() -> Response:
    """For Prometheus."""
    return Response(generate_latest(REGISTRIES[Process.GATEWAY]), media_type=CONTENT_TYPE_LATEST)
