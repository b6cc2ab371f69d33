"""The issuer of the neighbours within this process, on a port of loopback without TLS, and a browser that uses it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
from aiohttp import web

from tests.support.neighbours.neighbours.faults import Faults
from tests.support.neighbours.neighbours.issuer import IssuerServer
from tests.support.neighbours.neighbours.ledger import Ledger

HOME: Final = "https://gateway"  # browsers keep Secure cookies of it
UI: Final = f"{HOME}/admin/queues"


class Issuer:
    """The issuer that runs."""

    def __init__(self, url: str, server: IssuerServer, faults: Faults, ledger: Ledger) -> None:
        self.url, self.server, self._faults, self.ledger = url, server, faults, ledger

    def break_by(self, action: str, match: str = "", **given: Any) -> None:
        """Do one thing wrong from now on."""
        self._faults.replace([{"action": action, "match": match, **given}])

    def behave(self) -> None:
        """Do nothing wrong any more."""
        self._faults.replace([])

    async def token(self, **claims: Any) -> str:
        """A token with any claims, by its keys."""
        async with httpx2.AsyncClient() as client:
            return (await client.post(f"{self.url}/mint", json=claims)).text

    def settings(self, **given: Any) -> dict[str, Any]:
        """Of a gateway that takes its tokens, and where people sign in with them."""
        told = {
            "oidc_issuer": self.url,
            "oidc_audience": "batchjob",
            "oidc_username_prefix": "",
            "oidc_client_id": "batchjob-ui",
            "public_url": HOME,
        }
        return told | given


@asynccontextmanager
async def local_issuer(folder: Path) -> AsyncIterator[Issuer]:
    """Serve it."""
    ledger, faults = Ledger(folder / "issuer.ndjson"), Faults("issuer")
    server = IssuerServer(ledger, faults)
    runner = web.AppRunner(server.build_app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Issuer(f"http://127.0.0.1:{runner.addresses[0][1]}", server, faults, ledger)
    await runner.cleanup()
    ledger.close()


class Browser:
    """Somebody's browser: cookies of either side, and redirects one at a time."""

    def __init__(self, gateway: httpx2.AsyncClient, issuer: httpx2.AsyncClient) -> None:
        self._gateway, self._issuer = gateway, issuer

    async def get(self, url: str, **headers: str) -> httpx2.Response:
        """One page, redirects not followed."""
        client = self._gateway if url.startswith((HOME, "/")) else self._issuer
        return await client.get(HOME + url if url.startswith("/") else url, headers=headers)

    async def post(self, path: str, **form: str) -> httpx2.Response:
        """A form of ours."""
        return await self._gateway.post(f"{HOME}{path}", data=form, headers={"Sec-Fetch-Site": "same-origin"})

    async def sign_in(self, user: str, target: str = "/admin/queues/jobs") -> httpx2.Response:
        """Go to the issuer, say who it is, and come back: what the gateway then says."""
        there = (await self.get(f"/admin/queues/sign-in/start?next={target}")).headers["location"]
        back = await self._issuer.post(there, data={"user": user})
        return await self.get(back.headers["location"])

    async def follow(self, answer: httpx2.Response) -> httpx2.Response:
        """Go where an answer sends it, until there is a page."""
        while answer.is_redirect:
            answer = await self.get(answer.headers["location"])
        return answer
