"""Somebody who asks a gateway on a port: over HTTP, by pages, for live events; and what they were answered."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import httpx2
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from batchjob.api.base import API_VERSION
from batchjob.api.queue import QUEUE_KIND
from batchjob.errors import AlreadyExists
from batchjob.gateway.problems import MEDIA_TYPE
from batchjob.gateway.process import Server
from batchjob.kube import BATCH_JOBS, BATCH_QUEUES, Kube
from tests.support.gateway_world import TEAM, World, key_of
from tests.support.tenancy import JOBS, NOOP, QUEUE, SCHEDULE, SIGN_IN, UI, Code, Row, body_of, path_of

SAME: Final = {"Sec-Fetch-Site": "same-origin"}
COOKIE: Final = "batchjob"  # over plain HTTP to this machine
TRACES: Final = ("Traceback (most", 'File "/', "site-packages")


class Asker:
    """All that is asked of one gateway; every answer is looked at for what must not be in it."""

    def __init__(self, client: httpx2.AsyncClient, url: str, world: World, app: FastAPI) -> None:
        self._client, self._url, self._world = client, url, world
        self._kube: Kube = app.state.doors.kube
        self.job = self.schedule = ""
        self.answers: list[str] = []

    async def prepare(self) -> None:
        """What alice has."""
        with suppress(AlreadyExists):
            queue = {"apiVersion": API_VERSION, "kind": QUEUE_KIND, "metadata": {"name": QUEUE}, "spec": {}}
            await self._kube.create(BATCH_QUEUES, None, queue)
        self.job = await self.new_job()
        body = {**SCHEDULE, "name": "of-alice"}
        answer = await self.send("POST", "/api/v1/schedules", key_of("alice"), json=body)
        assert answer.status_code in {201, 409}, answer.text
        self.schedule = "of-alice"

    async def stored(self, job: str) -> dict[str, Any]:
        """The custom resource."""
        return await self._kube.get(BATCH_JOBS, TEAM, job.removeprefix(f"{TEAM}."))

    async def new_job(self, **changes: Any) -> str:
        """A BatchJob of alice, with items in the store."""
        answer = await self.send("POST", JOBS, key_of("alice"), json=NOOP | changes)
        assert answer.status_code == 202, answer.text
        job: str = answer.json()["jobId"]
        await self._world.fill((await self.stored(job))["metadata"]["uid"])
        return job

    async def send(self, method: str, path: str, token: str | None, **given: Any) -> httpx2.Response:
        """One request; of live events the beginning."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        if path.startswith(UI):
            headers = SAME | ({"Cookie": f"{COOKIE}={token}"} if token is not None else {})
        headers |= given.pop("headers", {})
        async with self._client.stream(method, path, headers=headers, **given) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                text = await anext(aiter(answer.aiter_text()))
            else:
                text = (await answer.aread()).decode()
        whole = text + str(answer.headers.multi_items())
        assert not [trace for trace in TRACES if trace in whole], text
        if answer.status_code >= 400 and path.startswith("/api"):
            assert answer.headers["content-type"] == MEDIA_TYPE
            assert answer.status_code != 401 or answer.headers["www-authenticate"].startswith("Bearer")
        self.answers.append(whole)
        return answer

    async def ask(self, row: Row, token: str | None, job: str = "", **given: Any) -> Code:
        """What a row is answered: a status, where a page sends who has to sign in, or how a WebSocket goes."""
        job = job or self.job
        path = path_of(row, job, self.schedule)
        if row.method == "WS":
            return await self.watch(path, token)
        body: dict[str, Any] = {} if row.body is None else {"data" if row.is_page else "json": body_of(row, job)}
        answer = await self.send(row.method, path, token, **body, **given)
        location = answer.headers.get("location", "")
        return SIGN_IN if not row.is_public and location.startswith(f"{UI}/sign-in") else answer.status_code

    async def watch(self, path: str, token: str | None) -> Code:
        """How a WebSocket begins, or with which code it is closed."""
        async with connect(self._url.replace("http", "ws") + path) as socket:
            try:
                await socket.send(json.dumps({"token": token or ""}))
                message = str(await socket.recv())
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0
        self.answers.append(message)
        return str(json.loads(message)["type"])

    def taken(self) -> Iterator[str]:
        """The answers so far, once."""
        while self.answers:
            yield self.answers.pop()


@asynccontextmanager
async def serving(app: FastAPI, world: World) -> AsyncIterator[Asker]:
    """Serve an app on loopback, in this loop."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2
    )
    server = Server(config)  # without handlers of signals
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done(), running
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
            yield Asker(client, url, world, app)
    finally:
        server.stop()
        await running
