"""A gateway that is killed while people watch: each event is seen once, in order and without a gap, on every way.

Whoever watches comes back with the id of the last event that they saw, as a browser's EventSource does by itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Final

import httpx2
from websockets.exceptions import ConnectionClosed, InvalidMessage

from batchjob.core.events import LiveType
from tests.support.live_gateway import GatewayProcess, Teller, sse_events
from tests.support.workers import wait_for

EVENTS_A_KILL: Final = 20
PACE_SECONDS: Final = 0.01  # between two events: the pace of what happens, not a wait for anything
RETRY_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 600.0


class Watch:
    """One who watches alice's BatchJob, and comes back."""

    def __init__(self, gateway: GatewayProcess, job: str, *, by_socket: bool) -> None:
        self._gateway, self._job, self._by_socket = gateway, job, by_socket
        self._last = ""
        self.seen: list[int] = []
        self.connections = 0

    async def run(self, total: int) -> None:
        """Until so many events were seen."""
        while len(self.seen) < total:
            try:
                async for event in self._socket() if self._by_socket else self._stream():
                    self.seen.append(event["seq"])
                    self._last = event["id"]
                    if len(self.seen) == total:
                        return
            except (ConnectionClosed, InvalidMessage, OSError, httpx2.TransportError):
                await asyncio.sleep(RETRY_SECONDS)  # it is being started again

    async def _socket(self) -> AsyncIterator[dict[str, Any]]:
        async with await self._gateway.watch("alice", f"?after={self._last or 0}&jobId=team.{self._job}") as socket:
            self.connections += 1
            async for message in socket:
                event = json.loads(message)
                if event["type"] != "heartbeat":
                    yield event

    async def _stream(self) -> AsyncIterator[dict[str, Any]]:
        async with self._gateway.events("alice", f"team.{self._job}", self._last or None) as response:
            assert response.status_code == 200
            self.connections += 1
            async for event in sse_events(response):
                yield json.loads(event["data"])


async def trial(gateway: GatewayProcess, teller: Teller, job: str, kills: int, seed: int) -> dict[str, int]:
    """So many kills; AssertionError where somebody missed an event, saw one twice, or another order."""
    total, random = EVENTS_A_KILL * (kills + 1), Random(seed)
    watches = [Watch(gateway, job, by_socket=by_socket) for by_socket in (True, True, False, False)]

    async def all_saw(count: int) -> bool | None:
        return all(len(watch.seen) >= count for watch in watches) or None

    async def go_on() -> None:
        for number in range(kills):
            struck = random.randrange(1, EVENTS_A_KILL)
            await tell(struck)
            told = EVENTS_A_KILL * number
            await wait_for(lambda told=told: all_saw(told), "all to have come back")  # type: ignore[misc]
            gateway.kill()  # with all that nobody has looked at yet
            starting = asyncio.create_task(asyncio.to_thread(gateway.start))
            await tell(EVENTS_A_KILL - struck)
            await starting
        await tell(EVENTS_A_KILL)

    async def tell(count: int) -> None:
        for _ in range(count):
            await teller.tell(job, LiveType.PROGRESS)
            await asyncio.sleep(PACE_SECONDS)

    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        for work in (go_on(), *(watch.run(total) for watch in watches)):
            group.create_task(work)
    for watch in watches:
        assert watch.seen == [*range(1, total + 1)], f"seen: {watch.seen}"
    connections = sum(watch.connections for watch in watches)
    return {"kills": kills, "events": total, "watches_broken_off": connections - len(watches)}
