"""The admin UI on a port of loopback, for a browser."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from batchjob import log
from tests.support.ui_world import World, build_ui


@contextmanager
def serving(world: World, port: int = 0) -> Iterator[str]:
    """Serve a world; yields the address. A browser takes Secure cookies from localhost without TLS."""
    log.configure("error")  # unset, it paints tracebacks for a terminal, which takes longer than a browser waits
    config = uvicorn.Config(build_ui(world), host="127.0.0.1", port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        thread.join(0.02)
    number = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://localhost:{number}"
    finally:
        server.should_exit = True
        thread.join(10)
