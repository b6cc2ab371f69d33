"""The application: routers put together, inside the envelope. Each room of the API is a page with a router."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from batchjob.gateway import (
    annotator,
    audited,
    batchjobs,
    contents,
    description,
    live,
    live_description,
    probes,
    problems,
    queues,
    schedules,
    search,
    ui,
)
from batchjob.gateway.access import Gate, Permissions
from batchjob.gateway.attempts import Attempts
from batchjob.gateway.credentials import Credentials
from batchjob.gateway.doors import Doors
from batchjob.gateway.envelope import Envelope, is_quiet
from batchjob.gateway.settings import GatewaySettings
from batchjob.gateway.staging import Staging
from batchjob.kube import Access, Kube, Throttle
from batchjob.store import Store

ROUTERS: Final = (
    probes.router,
    search.router,
    batchjobs.router,
    contents.router,
    annotator.router,
    queues.router,
    schedules.router,
    audited.router,
    live.router,
    live_description.router,
    *ui.ROUTERS,
)
# Its spans of requests, and nothing else: we have metrics and logs of our own.
TELEMETRY: Final[TelemetryConfig] = {
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
    "exclude": is_quiet,
}


def build_app(settings: GatewaySettings, access: Access) -> FastAPI:
    """The application; its lifespan opens the doors to Kubernetes (at `access`) and to the store."""
    template = annotator.read_template(settings.annotator_file)
    staging = Staging.read(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            throttle = Throttle(settings.kube_qps, settings.kube_burst)
            kube = await stack.enter_async_context(Kube(access, throttle, strict=True))
            store = Store.connect(settings.store(), name="batchjob-gateway", reread=settings.store)
            store = await stack.enter_async_context(store)
            attempts = Attempts(store.count, settings.failed_sign_ins_per_minute, settings.failed_sign_ins_in_all)
            gate = Gate(Credentials(settings, kube), Permissions(kube), attempts, settings.default_namespace)
            app.state.doors = Doors(settings, kube, store, gate, template, staging)
            if staging is not None:
                sweeping = asyncio.create_task(staging.keep_sweeping(kube))
                stack.callback(sweeping.cancel)
            yield

    app = FastAPI(
        title="BatchJob",
        version=version("batchjob"),
        lifespan=lifespan,
        docs_url=None,  # the framework's pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry=TELEMETRY,
    )
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    description.install(app)
    app.add_middleware(Envelope, hsts_seconds=settings.hsts_seconds)
    return app
