"""What every route works with: the settings and the open doors. Made at the start, closed at the end."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

from batchjob.gateway.access import Caller, Gate
from batchjob.gateway.addresses import client_address
from batchjob.gateway.places import Places
from batchjob.gateway.settings import GatewaySettings
from batchjob.gateway.staging import Staging
from batchjob.kube import Kube
from batchjob.store import Store

DOWNLOADS: Final = 16  # of results at once, each of which has some megabytes in memory


@dataclass(frozen=True)
class Doors:
    """The settings, the doors, and the gate that everybody comes through; `store` connects with its first call."""

    settings: GatewaySettings
    kube: Kube
    store: Store
    gate: Gate
    annotator: Mapping[str, Any]  # the spec that the routes of `annotator` begin with
    staging: Staging | None = None  # where large inputs are put
    listing: asyncio.Lock = field(default_factory=asyncio.Lock)  # of all pods or schedules: a page is in memory in full
    downloads: Places = field(default_factory=lambda: Places(DOWNLOADS, "downloads"))


def doors_of(connection: HTTPConnection) -> Doors:
    """The doors, for a request or a WebSocket."""
    found: Doors = connection.app.state.doors
    return found


DoorsOf = Annotated[Doors, Depends(doors_of)]


async def admit(connection: HTTPConnection, doors: Doors, authorization: str | None) -> Caller:
    """Whom an Authorization signs in that came with a request or over a WebSocket."""
    address = client_address(connection, doors.settings.trusted_proxies)
    caller = await doors.gate.admit(authorization, address)
    connection.state.caller = caller.name  # for the line in the log
    return caller


async def caller_of(connection: HTTPConnection, doors: DoorsOf) -> Caller:
    """Who sends a request."""
    return await admit(connection, doors, connection.headers.get("Authorization"))


CallerOf = Annotated[Caller, Depends(caller_of)]
