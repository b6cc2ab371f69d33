"""The control port: ledgers, faults, mails and files, for the test that drives the neighbours."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from .faults import Faults
from .files import FileServer
from .ledger import Ledger
from .smtp import MailSink

MAX_FILE_BYTES: Final = 256 * 2**20
WELCOME: Final = """\
This is test equipment of BatchJob: a chat server, a mail sink, an S3 store and a file server that stand in for the
world outside. Nothing here is part of an installation, keeps a secret, or sends anything anywhere.

GET /healthz · GET /ledger/{chat|smtp|s3|https|hooks}?after=SEQUENCE · GET /ledger/{name}/summary · DELETE /ledger
GET, DELETE /faults · PUT, DELETE /faults/{name} · GET /mails?limit=N · GET /mails/{sequence}
PUT /files/{name} · GET /ca.crt
"""


@dataclass(frozen=True, slots=True)
class Control:
    """Handlers of the control routes."""

    ledgers: dict[str, Ledger]
    faults: dict[str, Faults]
    mails: MailSink
    files: FileServer
    ca_certificate: Path

    def build_app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=MAX_FILE_BYTES, middlewares=[_bad_input_is_400])
        app.add_routes(
            [
                web.get("/", _welcome),
                web.get("/healthz", _healthy),
                web.get("/ledger/{name}", self.ledger),
                web.get("/ledger/{name}/summary", self.summary),
                web.delete("/ledger", self.reset_ledgers),
                web.get("/faults", self.list_faults),
                web.put("/faults/{name}", self.set_faults),
                web.delete("/faults", self.clear_faults),
                web.delete("/faults/{name}", self.clear_faults),
                web.get("/mails", self.list_mails),
                web.get("/mails/{sequence:[0-9]+}", self.mail),
                web.put("/files/{name}", self.put_file),
                web.get("/ca.crt", self.authority),
            ]
        )
        return app

    def _ledger(self, request: web.Request) -> Ledger:
        try:
            return self.ledgers[request.match_info["name"]]
        except KeyError:
            raise web.HTTPNotFound(text=f"the ledgers are {', '.join(self.ledgers)}\n") from None

    async def ledger(self, request: web.Request) -> web.Response:
        """Rows as NDJSON, all or those after a sequence."""
        rows = self._ledger(request).rows(after=int(request.query.get("after", "-1")))
        return web.Response(body=await asyncio.to_thread(b"".join, rows), content_type="application/x-ndjson")

    async def summary(self, request: web.Request) -> web.Response:
        """Counts over a whole ledger."""
        return web.json_response(await asyncio.to_thread(self._ledger(request).summary))

    async def reset_ledgers(self, _request: web.Request) -> web.Response:
        """Empty every ledger."""
        for ledger in self.ledgers.values():
            ledger.reset()
        return web.Response(status=204)

    async def list_faults(self, _request: web.Request) -> web.Response:
        """All rules, with their hits, by neighbour."""
        return web.json_response({name: faults.describe() for name, faults in self.faults.items()})

    async def set_faults(self, request: web.Request) -> web.Response:
        """Replace the rules of one neighbour."""
        self._ledger(request)
        self.faults[request.match_info["name"]].replace(await request.json())
        return web.Response(status=204)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Remove the rules of one neighbour or of all."""
        chosen = [request.match_info["name"]] if self._named(request) else list(self.faults)
        for name in chosen:
            self.faults[name].replace([])
        return web.Response(status=204)

    def _named(self, request: web.Request) -> bool:
        return "name" in request.match_info and bool(self._ledger(request))

    async def list_mails(self, request: web.Request) -> web.Response:
        """The rows of the last `limit` mails, oldest first."""
        limit = int(request.query.get("limit", "50"))
        rows = [json.loads(row) for row in self.ledgers["smtp"].rows()]
        return web.json_response(rows[max(0, len(rows) - limit) :])

    async def mail(self, request: web.Request) -> web.Response:
        """One mail as it was received."""
        row = self.ledgers["smtp"].row(int(request.match_info["sequence"]))
        if row is None:
            raise web.HTTPNotFound(text="no such mail\n")
        return web.Response(body=self.mails.mail(row), content_type="message/rfc822")

    async def put_file(self, request: web.Request) -> web.Response:
        """Keep a file for the HTTPS server."""
        self.files.put(request.match_info["name"], await request.read())
        return web.Response(status=204)

    async def authority(self, _request: web.Request) -> web.Response:
        """The certificate that clients of the HTTPS server trust."""
        return web.Response(body=self.ca_certificate.read_bytes(), content_type="application/x-pem-file")


async def _welcome(_request: web.Request) -> web.Response:
    return web.Response(text=WELCOME)


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@web.middleware
async def _bad_input_is_400(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
