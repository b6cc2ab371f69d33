"""The gateway as a process of its own, beside a stand-in for the API server that knows a few BatchJobs and keys."""

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final, Self

import httpx2
import yaml
from aiohttp import web
from aiohttp.typedefs import Handler
from websockets.asyncio.client import ClientConnection, connect

from batchjob.core.events import LiveEvent, LiveType, Told
from batchjob.core.records import owner_key
from batchjob.store import Store, Telling
from batchjob.store.live import NOTHING, Record
from tests.support.frames import check_frame
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop
from tests.support.ports import free_port

USERS: Final = ("alice", "bob", "admin")


def token(user: str) -> str:
    """The API key of a user."""
    return f"bj_{user}_{'x' * 32}"


class ApiServer:
    """What the gateway asks of Kubernetes here: BatchJobs, the Secret of keys, and who is an admin."""

    def __init__(self) -> None:
        self.batch_jobs: dict[str, dict[str, Any]] = {}
        self.users = set(USERS)
        self.away = False

    def add(self, name: str, owner: str, **status: Any) -> None:
        """A BatchJob in the namespace `team`."""
        body = noop(name, inline(1), owner=owner)
        body["metadata"] |= {"namespace": "team", "uid": name, "resourceVersion": "1", "generation": 1}
        self.batch_jobs[name] = body | {"status": status}

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve in a thread of its own, whatever the loops of tests do; yields the URL."""
        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever, daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._begin(), loop).result(20)
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _begin(self) -> web.AppRunner:
        app = web.Application(middlewares=[self._answer])
        app.router.add_get("/apis/batchjob.dev/v1alpha1", self._kinds)
        app.router.add_get("/api/v1/namespaces/{namespace}/secrets/{name}", self._secret)
        app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", self._review)
        self.add_routes(app.router)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Those of the kinds that it knows."""
        router.add_get("/apis/batchjob.dev/v1alpha1/namespaces/{namespace}/batchjobs/{name}", self._batch_job)
        router.add_post("/apis/batchjob.dev/v1alpha1/namespaces/{namespace}/batchjobs", self._create)

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.away:
            return web.json_response({"kind": "Status", "message": "away", "code": 503}, status=503)
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return _missing()

    async def _kinds(self, _: web.Request) -> web.Response:
        return web.json_response({"resources": [{"name": "batchjobs"}]})

    async def _batch_job(self, request: web.Request) -> web.Response:
        found = self.batch_jobs.get(request.match_info["name"])
        if found is None or request.match_info["namespace"] != "team":
            return _missing()
        return web.json_response(found)

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = body["metadata"]["name"]
        if name in self.batch_jobs:
            return web.json_response({"kind": "Status", "message": "taken", "reason": "AlreadyExists"}, status=409)
        body["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": "1", "generation": 1}
        self.batch_jobs[name] = body
        return web.json_response(body, status=201)

    async def _secret(self, _: web.Request) -> web.Response:
        entries = {
            user: {"sha256": hashlib.sha256(token(user).encode()).hexdigest(), "user": user, "namespace": "team"}
            for user in self.users
        }
        encoded = {user: base64.b64encode(json.dumps(entry).encode()).decode() for user, entry in entries.items()}
        return web.json_response({"data": encoded})

    async def _review(self, request: web.Request) -> web.Response:
        asked = await request.json()
        may = asked["spec"]["user"] == "admin" or asked["spec"]["resourceAttributes"]["resource"] == "batchjobs"
        return web.json_response(asked | {"status": {"allowed": may}}, status=201)


def _missing() -> web.Response:
    return web.json_response({"kind": "Status", "message": "not found", "reason": "NotFound"}, status=404)


class GatewayProcess:
    """`batchjob gateway`."""

    def __init__(self, api_url: str, store_url: str, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"gateway-{self.port}.log"
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": api_url}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        told = {
            "STORE_URL": store_url,
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(self.port),
            "API_KEYS_SECRET": "keys",
            "TOKEN_REVIEW": "false",
            **settings,
        }
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            **{f"BATCHJOB_{name}": value for name, value in told.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-c", "from batchjob.cli import main; main()", "gateway"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        wait_until(self._answers, f"the gateway to answer; see {self._log}", every=0.05)
        return self

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 60)

    def said(self) -> str:
        """What it logged."""
        return self._log.read_text()

    async def watch(self, user: str, query: str = "", **options: Any) -> ClientConnection:
        """A WebSocket that has signed in by its first message, and heard that it is ready."""
        socket = await connect(f"ws://127.0.0.1:{self.port}/ws{query}", proxy=None, **options)
        await socket.send(json.dumps({"token": token(user)}))
        ready = check_frame(str(await socket.recv()))
        assert ready["type"] == "ready"
        return socket

    @asynccontextmanager
    async def events(self, user: str, job: str, last: str | None = None) -> AsyncIterator[httpx2.Response]:
        """An answer with Server-Sent Events."""
        headers = {"Authorization": f"Bearer {token(user)}"} | ({"Last-Event-ID": last} if last else {})
        async with (
            httpx2.AsyncClient(timeout=60) as client,
            client.stream("GET", f"{self.url}/api/v1/batch-jobs/{job}/events", headers=headers) as response,
        ):
            yield response


class Teller:
    """Tells what the operator would."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Record] = {}

    async def tell(self, job: str, *kinds: LiveType, owner: str = "alice", uid: str = "", **data: Any) -> None:
        """Events of a BatchJob of the namespace `team`; `uid`: of one that had its name before."""
        uid = uid or job
        before = self._known.get(uid, NOTHING)
        events = [
            LiveEvent(kind, 1000, before.told.seq + number, {"jobId": f"team.{job}"} | data)
            for number, kind in enumerate(kinds, 1)
        ]
        told = Told(seq=before.told.seq + len(kinds))
        telling = Telling(uid, owner_key("team", owner), f"team.{job}", before, told, events)
        [self._known[uid]] = await self._store.live.tell([telling])


async def sse_events(response: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    """The events of an answer, by the fields that Server-Sent Events have; comments are left out."""
    event: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            event[name] = value
        elif not line:
            if "data" in event:
                yield event
            event = {}
