"""The HTTPS file server: what a test put there, with ETag and Range, and a row for each answer."""

import asyncio
import gzip
import os
import re
import time
from pathlib import Path
from typing import Final

from aiohttp import web

from .faults import Faults, Rule
from .ledger import Ledger

STALL_TENTHS: Final = 1200  # of a second: longer than any test waits
NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class FileServer:
    """A flat folder of files."""

    def __init__(self, ledger: Ledger, faults: Faults, folder: Path) -> None:
        self._ledger = ledger
        self._faults = faults
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def build_app(self) -> web.Application:
        """The web application; the caller adds TLS."""
        app = web.Application()
        app.router.add_get("/files/{name}", self.get)
        app.on_response_prepare.append(self._record)  # the status is settled and nothing has left yet
        return app

    def put(self, name: str, body: bytes) -> None:
        """Keep a file, visible whole or not at all; ValueError where the name is not a plain file name."""
        if not NAME.fullmatch(name):
            raise ValueError(f"a file's name has letters, digits, and ._- only, not {name!r}")
        fresh = self._folder / f".{name}"
        fresh.write_bytes(body)
        os.replace(fresh, self._folder / name)  # noqa: PTH105  # the name of what it does

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve a file, or fail the way a rule says."""
        request["arrived"], name = time.time(), request.match_info["name"]
        path = self._folder / name
        text = f"{request.method} {name}"
        verdict = self._faults.decide(text, text)
        await asyncio.sleep(verdict.delay_seconds)
        if verdict.rule is not None:
            request["fault"] = verdict.rule.action
            return await _misbehave(verdict.rule, request, path)
        if NAME.fullmatch(name) and path.is_file():
            return web.FileResponse(path)
        return web.Response(status=404, text=f"no file {name}\n")

    async def _record(self, request: web.Request, response: web.StreamResponse) -> None:
        if "arrived" in request:  # else no route matched
            fault = {"fault": request["fault"]} if "fault" in request else {}
            item, byte_range = request.match_info["name"], request.headers.get("Range")
            self._ledger.append(time=request["arrived"], item=item, status=response.status, range=byte_range, **fault)


async def _misbehave(rule: Rule, request: web.Request, path: Path) -> web.StreamResponse:
    if rule.action == "status":
        headers = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
        return web.Response(status=rule.status, text="a fault that a test asked for\n", headers=headers)
    if rule.action == "redirect":
        return web.Response(status=302, headers={"Location": rule.location})
    body = _bytes_of(path)
    if rule.action == "gzip":
        return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    if rule.action == "short":  # all of it, as far as the client can tell
        return web.Response(body=body[: len(body) // 2])
    if rule.action == "endless":
        return await _repeat(request, body)
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    for _ in range(STALL_TENTHS if rule.action == "stall" else 0):
        if request.transport is None:  # the client has had enough
            break
        await asyncio.sleep(0.1)
    if request.transport is not None:
        request.transport.close()  # after what is written: the client sees a body that ends half-way
    return response


async def _repeat(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:  # until the client has enough, which is an error here
        await response.write(body)
        await asyncio.sleep(0)  # a write into a fast reader never waits, and the loop would not see that it has gone


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
