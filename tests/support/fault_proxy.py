"""A proxy between the operator and the API server: plain HTTP in, TLS out, and faults on demand.

A fault answers or spoils the calls that it matches; what it does not match goes through. Watches are streams of lines,
so they can be cut, stalled or made to say ERROR in the middle. The log of calls says when each was made and answered.
"""

import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import yaml
from aiohttp import web

from batchjob.core.schedule_runs import SCHEDULE_LABEL
from batchjob.kube import Access

HALF_A_LINE: Final = b'{"type": "MODIF'


@dataclass
class Call:
    """A request of the operator's, numbered from 1 among all, and what was said to it."""

    number: int
    method: str  # WATCH for a watch, NAMES for a list of names only
    path: str
    body: bytes = b""
    at: float = field(default_factory=time.monotonic)
    answered_at: float | None = None  # None: the API server was not asked, or has not answered
    status: int = 0  # what it was answered, by a fault too
    said: str = ""  # of an error of the API server's, the words

    @property
    def is_watch(self) -> bool:
        """Whether it is answered by a stream."""
        return self.method == "WATCH"

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.method in {"POST", "PUT", "PATCH", "DELETE"}


@dataclass
class Fault:
    """What happens to calls that match: an answer in their place, or something done to their stream."""

    pattern: str  # searched in "METHOD path"
    where: Callable[[Call], bool] = lambda _: True  # and this must hold too
    answer: Callable[[], web.Response] | None = None
    lines: int | None = None  # of a watch: so many go through, then `end`
    end: bytes | None = None  # what is written before the cut; None: nothing
    stall: bool = False  # instead of the cut: silence
    twice: bool = False  # of a watch: every line comes twice
    lose_reply: bool = False  # the call is carried out, and its answer lost
    strike: Callable[[], None] | None = None  # done in place of the call; with `lose_reply` after it was carried out
    meanwhile: Callable[[], None] | None = None  # done once the call was carried out, before its answer goes back
    hang: bool = False  # the call is taken and never answered
    reset: bool = False  # its connection is reset
    stale: bool = False  # of a list: what the first such list said
    times: int = 1  # how often; then it is over
    hits: int = 0


class FaultProxy:
    """Runs in a thread while its context lasts."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._access = Access.from_kubeconfig(kubeconfig)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._faults: list[Fault] = []
        self._open: set[asyncio.Event] = set()
        self._last = b""
        self._first_lists: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.calls: list[Call] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads through the proxy."""
        config = yaml.safe_load(self._kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        path = folder / "through-the-proxy.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def inject(self, pattern: str, **fault: Any) -> Fault:
        """From now on, spoil calls that match."""
        self._faults.append(Fault(pattern, **fault))
        return self._faults[-1]

    @property
    def open_watches(self) -> int:
        """Streams that go through now."""
        return len(self._open)

    def cut_watches(self, *, last: bytes = HALF_A_LINE) -> None:
        """End every open watch now, with `last` as what is read last: empty for an end as it should be."""
        self._last = last

        def cut() -> None:
            for event in self._open:
                event.set()

        self._loop.call_soon_threadsafe(cut)

    def count(self, pattern: str) -> int:
        """How many calls matched so far."""
        return sum(1 for call in self.calls if re.search(pattern, _text(call)))

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._access.ssl_context() or True),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=8 * 1024 * 1024,
            auto_decompress=False,
        )
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        """End every stream before the loop goes: one that is collected later would complain in another test."""
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()
        await asyncio.sleep(0.25)  # aiohttp offers nothing to wait on: TLS connections need a moment to close

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        # The copies for schedules are of kinds that others watch too: told apart, a `…/jobs$` is not about them.
        path = request.path + ("?schedule" if request.query.get("labelSelector") == SCHEDULE_LABEL else "")
        call = Call(len(self.calls) + 1, _method(request), path, await request.read())
        self.calls.append(call)
        fault = self._fault(call)
        if fault and (answer := await self._in_its_place(request, call, fault)):
            return answer
        headers = {k: v for k, v in request.headers.items() if k.lower() not in {"host", "content-length"}}
        url = self._access.server + request.raw_path
        async with self._session.request(
            request.method, url, headers=headers, data=call.body or None, allow_redirects=False
        ) as found:
            call.status, call.answered_at = found.status, time.monotonic()
            if call.is_watch and found.status == 200:
                return await self._stream(request, found, fault)
            body = await found.read()
        if call.status >= 400:
            call.said = body.decode(errors="replace")
        if fault and fault.lose_reply:
            await self._strike(fault)
            return _hang_up(request)
        if fault and fault.meanwhile:
            await self._loop.run_in_executor(None, fault.meanwhile)
        kept = {
            k: v for k, v in found.headers.items() if k.lower() in {"content-type", "content-encoding", "retry-after"}
        }
        if call.method == "GET" and found.status == 200:
            self._first_lists.setdefault(call.path, (body, kept))
        return web.Response(status=found.status, body=body, headers=kept)

    async def _in_its_place(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse | None:
        """What happens instead of the call; None if it goes through."""
        if fault.answer:
            answer = fault.answer()
            call.status = answer.status
            return answer
        if fault.stale:
            body, kept = self._first_lists[call.path]
            return web.Response(body=body, headers=kept)
        if fault.hang:
            await asyncio.Event().wait()
        if fault.reset:
            return _hang_up(request, reset=True)
        if fault.strike and not fault.lose_reply:
            await self._strike(fault)
            return _hang_up(request)
        return None

    async def _strike(self, fault: Fault) -> None:
        if fault.strike:
            await self._loop.run_in_executor(None, fault.strike)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, fault: Fault | None
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": answer.content_type})
        await stream.prepare(request)
        cut = asyncio.Event()
        self._open.add(cut)
        try:
            async with aclosing(_lines_until(answer, cut, fault.lines if fault else None)) as lines:
                async for line in lines:
                    await stream.write(line * (2 if fault and fault.twice else 1))
            if fault and fault.stall:
                await cut.wait()
            if fault and fault.end is not None:
                await stream.write(fault.end)
            elif cut.is_set():
                await stream.write(self._last)
        except ConnectionError:
            pass  # the operator has gone
        finally:
            self._open.discard(cut)
        return stream

    def _fault(self, call: Call) -> Fault | None:
        for fault in self._faults:
            if fault.hits < fault.times and re.search(fault.pattern, _text(call)) and fault.where(call):
                fault.hits += 1
                return fault
        return None


def status(code: int, reason: str = "", retry_after: int | None = None) -> Callable[[], web.Response]:
    """An answer as the API server words its errors."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": reason,
        "code": code,
    }
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda: web.json_response(body, status=code, headers=headers)


def _text(call: Call) -> str:
    return f"{call.method} {call.path}"


def _method(request: web.Request) -> str:
    if request.query.get("watch") in {"1", "true"}:
        return "WATCH"
    return "NAMES" if "PartialObjectMetadataList" in request.headers.get("Accept", "") else request.method


def _hang_up(request: web.Request, *, reset: bool = False) -> web.StreamResponse:
    if request.transport:
        if reset:  # a connection that is closed with nothing left to wait for ends in RST
            linger = struct.pack("ii", 1, 0)
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.close()
    return web.Response()


async def _lines_until(
    answer: aiohttp.ClientResponse, cut: asyncio.Event, limit: int | None
) -> AsyncGenerator[bytes, None]:
    stop = asyncio.ensure_future(cut.wait())
    try:
        sent = 0
        while limit is None or sent < limit:
            line = asyncio.ensure_future(answer.content.readline())
            await asyncio.wait((line, stop), return_when=asyncio.FIRST_COMPLETED)
            if not line.done():
                line.cancel()
                return
            if not line.result():
                return
            yield line.result()
            sent += 1
    finally:
        stop.cancel()
