"""A gateway as a process of its own, between a Redis and a strict stand-in for the API server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.live_gateway import GatewayProcess
from tests.support.strict_api_server import StrictApiServer

UNLIMITED: Final = {
    **{f"{kind}_PER_MINUTE": "1000000" for kind in ("READS", "SUBMITS", "AI_SUBMITS", "CHANGES", "FAILED_SIGN_INS")},
    "FAILED_SIGN_INS_IN_ALL": "1000000",
}


class Stage(NamedTuple):
    """What a trial works with."""

    api: StrictApiServer
    gateway: GatewayProcess


@contextmanager
def a_gateway(folder: Path, store_url: str, **settings: str) -> Iterator[Stage]:
    """One that limits nobody, and two BatchJobs of the admin: `team.running` and `team.ended`."""
    api = StrictApiServer()
    api.add("running", "admin", phase="Running")
    api.add("ended", "admin", phase="Failed")
    with api.serving() as url:
        gateway = GatewayProcess(url, store_url, folder, **(UNLIMITED | settings)).start()
        try:
            yield Stage(api, gateway)
        finally:
            gateway.kill()
