"""/healthz (the loop turns), /readyz (Kubernetes answers and knows our kinds) and /metrics.

The store is not asked: without it, what needs the custom resource alone is still answered.
"""

import asyncio
from typing import Final

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from batchjob.errors import KubernetesError
from batchjob.gateway.doors import DoorsOf
from batchjob.kube import BATCH_JOBS

READY_SECONDS: Final = 2.0  # for the answer: whoever probes gives up about then

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Whether the process lives."""
    return PlainTextResponse("ok")


@router.get("/readyz")
async def readyz(doors: DoorsOf) -> PlainTextResponse:
    """Whether it can answer."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            known = await doors.kube.serves(BATCH_JOBS)
    except (KubernetesError, TimeoutError):
        return PlainTextResponse("Kubernetes does not answer", 503)
    if not known:
        return PlainTextResponse("Kubernetes does not know BatchJobs: install the CRDs", 503)
    return PlainTextResponse("ok")


@router.get("/metrics")
async def metrics() -> Response:
    """For Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
