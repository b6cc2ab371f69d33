"""The receiver of webhooks: takes every POST to /hooks/{name}, whoever signed it, and keeps what it was told."""

import asyncio
import json
import time

from aiohttp import web

from .faults import Faults
from .ledger import Ledger

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type")


class HookServer:
    """One endpoint for each name."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self._ledger = ledger
        self._faults = faults

    def build_app(self) -> web.Application:
        """The web application; the caller adds TLS."""
        app = web.Application()
        app.router.add_post("/hooks/{name}", self.post)
        return app

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Take what is told, or fail the way a rule says; either way it is in the ledger before the answer."""
        arrived, name, body = time.time(), request.match_info["name"], await request.text()
        headers = {known: request.headers.get(known, "") for known in HEADERS}
        told = _type(body)
        verdict = self._faults.decide(f"{name} {headers['webhook-id']}", f"{name} {told}")
        rule = verdict.rule
        status = 204 if rule is None else {"disconnect": 0, "redirect": 302}.get(rule.action, rule.status)
        fault = {"fault": rule.action} if rule else {}
        self._ledger.append(
            time=arrived, item=headers["webhook-id"], status=status, name=name, headers=headers, body=body, **fault
        )
        await asyncio.sleep(verdict.delay_seconds)
        if rule is not None and rule.action == "disconnect":
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        location = {"Location": rule.location} if rule is not None and rule.location else {}
        return web.Response(status=status, headers=location)


def _type(body: str) -> str:
    try:
        return str(json.loads(body)["type"])
    except (ValueError, KeyError, TypeError):
        return ""
