"""/healthz (the loop turns), /readyz (Jobs and queues are known) and /metrics.

Not the BatchJobs and schedules: whoever leads waits for them, and a standby that does not know them yet can stand by.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from batchjob.metrics import REGISTRIES, Process


@asynccontextmanager
async def serve_probes(host: str, port: int, is_ready: Callable[[], bool]) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port, which 0 leaves to the system."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        ready = is_ready()
        return web.Response(text="ok" if ready else "Jobs and queues are not known yet", status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(REGISTRIES[Process.OPERATOR]), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
