"""A port of a pod, on this machine: what `kubectl port-forward` does, as long as a command needs it.

Each connection is a WebSocket of its own to the API server (`v4.channel.k8s.io`), which passes it on to the kubelet.
Frames begin with the number of their channel: 0 has the bytes, 1 has errors; the first of each names the port.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from batchjob.errors import ApiUnavailable
from batchjob.kube.access import Access
from batchjob.kube.answers import build_error
from batchjob.kube.resources import PODS
from batchjob.kube.session import open_session

PROTOCOL: Final = "v4.channel.k8s.io"
READ_BYTES: Final = 32 * 1024
_DATA, _ERROR = b"\x00", b"\x01"
_CONNECT_SECONDS: Final = 15.0


@asynccontextmanager
async def forward(access: Access, namespace: str, pod: str, port: int) -> AsyncIterator[str]:
    """`host:port` on loopback that leads to a port of a pod; Forbidden and the like where it may not be."""
    path = access.server + PODS.path(namespace, pod, "portforward")
    connections: set[asyncio.Task[None]] = set()

    async with open_session(access) as session:

        async def connect() -> aiohttp.ClientWebSocketResponse:
            try:
                return await asyncio.wait_for(
                    session.ws_connect(
                        path, params={"ports": str(port)}, headers=access.headers(), protocols=[PROTOCOL]
                    ),
                    _CONNECT_SECONDS,
                )
            except aiohttp.WSServerHandshakeError as error:
                said = f"{error.status} {error.message}"
                why = f"the port {port} of the pod {namespace}/{pod} cannot be forwarded: {said}"
                raise build_error(error.status, why, "GET", None) from None
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ApiUnavailable(
                    f"the port {port} of the pod {namespace}/{pod} is not reached: {error!r}"
                ) from None

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task:
                connections.add(task)
                task.add_done_callback(connections.discard)
            try:
                async with await connect() as channel:
                    await _pump(reader, writer, channel)
            except (ApiUnavailable, OSError):
                pass  # the connection closes, and whoever uses it says so
            except asyncio.CancelledError:
                pass  # by us, at the end; handed on, Python 3.11 would print it as an error of its own
            finally:
                writer.close()

        await (await connect()).close()  # what is wrong is found out here, and told
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            host, local_port = server.sockets[0].getsockname()
            try:
                yield f"{host}:{local_port}"
            finally:
                for task in [*connections]:
                    task.cancel()
                await asyncio.gather(*connections, return_exceptions=True)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, channel: aiohttp.ClientWebSocketResponse
) -> None:
    """Bytes both ways, until either side has no more."""

    async def upwards() -> None:
        while data := await reader.read(READ_BYTES):
            await channel.send_bytes(_DATA + data)

    async def downwards() -> None:
        begun = set[bytes]()
        async for message in channel:
            if message.type is not aiohttp.WSMsgType.BINARY:
                continue
            number, data = message.data[:1], message.data[1:]
            if number not in begun:  # the port, two bytes
                begun.add(number)
            elif number == _DATA:
                writer.write(data)
                await writer.drain()
            elif number == _ERROR and data:
                return

    tasks = [asyncio.create_task(upwards()), asyncio.create_task(downwards())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
