"""The gateway as a process: uvicorn on one port, until SIGTERM, then as long as begun requests need."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from batchjob import log, traces
from batchjob.api.run import EXIT_CONFIGURATION
from batchjob.errors import ConfigurationError
from batchjob.gateway.app import build_app
from batchjob.gateway.live import leave
from batchjob.gateway.settings import GatewaySettings
from batchjob.kube import Access
from batchjob.memory import collect_rarely
from batchjob.metrics import publish_build_info

HEADER_BYTES: Final = 64 * 1024  # all header lines of a request: a token with many groups has 16 KiB
MESSAGE_BYTES: Final = 64 * 1024  # of a WebSocket's message to us: a token
CONNECTIONS: Final = 10_000  # at once; live events keep one each. Beyond: 503

HEAD_SECONDS: Final = 15.0  # for a request's header lines, from its connection or the answer before; else it is closed

logger = log.get(__name__)


def main() -> int:
    """The command `batchjob gateway`; returns its exit code."""
    collect_rarely()
    log.configure()
    try:
        settings = GatewaySettings.read()
        log.configure(settings.log_level)
        publish_build_info()
        with traces.sending("batchjob-gateway"):
            asyncio.run(serve(settings, Access.find()))
    except ConfigurationError as error:
        logger.critical("cannot run like this", error=str(error))
        return EXIT_CONFIGURATION
    return 0


class Connection(H11Protocol):
    """It waits for a request no longer than HEAD_SECONDS; uvicorn waits for a first one, or one half sent, for ever."""

    _ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody is there."""
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        """The next request may come."""
        self._await_head()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        if self._ends is not None:
            self._ends.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._ends is not None:
            self._ends.cancel()
        self._ends = self.loop.call_later(HEAD_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.timeout_keep_alive_handler()


class Server(uvicorn.Server):
    """It leaves signals to us: it would send itself each again when all is done, and end as killed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """End once requests that have begun are answered; live events would go on for ever."""
        self.should_exit = True
        leave(self.config.app)


async def serve(settings: GatewaySettings, access: Access) -> None:
    """Serve until SIGTERM or SIGINT."""
    server = Server(build_config(settings, access))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    logger.info("started", host=settings.listen_host, port=settings.listen_port)
    await server.serve()
    logger.info("stopped")


def build_config(settings: GatewaySettings, access: Access) -> uvicorn.Config:
    """How uvicorn serves: it logs nothing by itself, and tells nobody what it is."""
    return uvicorn.Config(
        build_app(settings, access),
        host=settings.listen_host,
        port=settings.listen_port,
        lifespan="on",
        log_config=None,
        log_level="warning",  # what it says of a WebSocket has the whole URL in it
        access_log=False,
        server_header=False,
        proxy_headers=False,  # what they say decides nothing here, and anybody may send them
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        http=Connection,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,  # it keeps a window for each of thousands that watch, for events of 200 bytes
        timeout_graceful_shutdown=settings.drain_seconds,
    )
