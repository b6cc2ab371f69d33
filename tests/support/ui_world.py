"""The admin UI with a world behind its doors: what it reads is made up here, what it changes is written down.

The pages, routes, cookies and headers are real; only Kubernetes and the store are stand-ins, so that a page can show
anything, and at once.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx2
import msgspec
from fastapi import FastAPI

from batchjob.api.base import GROUP
from batchjob.api.status import Phase
from batchjob.core.queries import WORD, Query
from batchjob.core.records import RunRecord, owner_key
from batchjob.core.rows import JobRow
from batchjob.errors import AlreadyExists, NotFound
from batchjob.gateway import live, problems, ui
from batchjob.gateway.access import CHALLENGE, Caller, Permissions
from batchjob.gateway.doors import Doors
from batchjob.gateway.envelope import Envelope
from batchjob.gateway.identity import Identity
from batchjob.gateway.problems import UNAUTHENTICATED, Problem
from batchjob.gateway.ui.session import COOKIE
from batchjob.kube import BATCH_JOBS, BATCH_QUEUES, BATCH_SCHEDULES, CORE_EVENTS, EVENTS, PODS, Listing, Resource
from batchjob.store import AuditEntry, AuditFilter, AuditPage, DeadLetter, ItemResult, LiveEntry, Page
from tests.support.gateway import build_gateway, gateway_settings

ALICE, ADMIN = "alice@example.com", "root@example.com"
Letters = list[DeadLetter]
TOKENS = {"alice": ALICE, "admin": ADMIN}


def stamp(ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))


class Rights(Permissions):
    """Rights are Kubernetes', and here they are these: all that are not forbidden, and an admin's."""

    def __init__(self, forbidden: frozenset[str]) -> None:
        self._forbidden = forbidden

    async def allow(self, who: Identity, verb: str, resource: Resource, namespace: str | None = None) -> bool:
        admins = verb in {"update", "impersonate-owner"} and who.name != ADMIN
        asked = {verb, f"{verb} {resource.plural}", f"{verb} {resource.plural} {namespace}"}
        return not (admins or asked & self._forbidden)


class Streams:
    """The store's streams of live events, without Redis: a test tells, from whichever thread."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []  # owner, job
        self.away = False

    def tell(self, owner: str, job: str) -> None:
        """Something happened to a BatchJob (`<namespace>.<name>`) of an owner."""
        self.told.append((owner_key(job.partition(".")[0], owner), job))

    async def last(self, _: str) -> str:
        return str(len(self.told))

    async def read(self, owner: str, after: str) -> list[LiveEntry]:
        [found] = await self.read_many([(owner, after)])
        return found

    async def read_many(self, cursors: Sequence[tuple[str, str]]) -> list[list[LiveEntry]]:
        return [
            [
                LiveEntry(str(number), job, "batch:progress", 5, number, b"{}")
                for number, (of, job) in enumerate(self.told, 1)
                if of == owner and number > int(after)
            ]
            for owner, after in cursors
        ]

    async def last_ring(self) -> str:
        return str(len(self.told))

    async def wait(self, after: str, _: float = 5.0) -> tuple[str, set[str] | None]:
        while len(self.told) == int(after):  # noqa: ASYNC110 - an Event is one loop's, and the browser's test has another
            await asyncio.sleep(0.02)
        return str(len(self.told)), {owner for owner, _ in self.told[int(after) :]}


@dataclass
class World:
    """What there is, and what was asked of it."""

    jobs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    queues: list[dict[str, Any]] = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    letters: dict[str, list[DeadLetter]] = field(default_factory=dict)
    found: dict[str, list[ItemResult]] = field(default_factory=dict)
    rows: list[JobRow] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    posted: list[dict[str, Any]] = field(default_factory=list)
    audited: list[AuditEntry] = field(default_factory=list)
    changes: list[tuple[str, ...]] = field(default_factory=list)
    listed: list[tuple[str, str | None]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)  # of what was listed last
    watched: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)  # by pod
    seen: dict[str, float] = field(default_factory=dict)  # signs of life, by worker
    counted: dict[str, int] = field(default_factory=dict)
    forbidden: frozenset[str] = frozenset()
    store_error: Exception | None = None
    kube_error: Exception | None = None
    live: Streams = field(default_factory=Streams)

    # the gate
    code_flow: None = None

    async def admit(self, authorization: str | None, _: str | None = None) -> Caller:
        name = TOKENS.get((authorization or "").removeprefix("Bearer "))
        if name is None:
            raise Problem(UNAUTHENTICATED, "the token is none that we trust", headers=CHALLENGE)
        return Caller(Identity(name), Rights(self.forbidden), "default")

    # Kubernetes

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        assert resource is BATCH_JOBS
        self._answers()
        if (namespace, name) not in self.jobs:
            raise NotFound(name)
        return self.jobs[namespace, name]

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        shorten: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        **_: Any,
    ) -> Listing:
        self._answers()
        self.listed.append((resource.plural, namespace))
        kinds = {BATCH_QUEUES: self.queues, BATCH_SCHEDULES: self.schedules, PODS: self.pods, CORE_EVENTS: self.events}
        found = [one for one in kinds[resource] if namespace in {None, one["metadata"].get("namespace")}]
        self.kept = [shorten(deepcopy(one)) for one in found]
        return Listing(self.kept, "1")

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, change: Mapping[str, Any]
    ) -> dict[str, Any]:
        self.changes.append(("patch", resource.kind, f"{namespace}/{name}", json.dumps(change)))
        return {**change, "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"}}

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> None:
        if resource is EVENTS:
            self.posted.append({**body})
            return
        if resource is BATCH_JOBS:
            if (namespace, body["metadata"]["name"]) in self.jobs:
                raise AlreadyExists(body["metadata"]["name"])
            self.jobs[namespace, body["metadata"]["name"]] = {**body}
        self.changes.append(("create", resource.kind, f"{namespace}/{body['metadata']['name']}", json.dumps(body)))

    async def log(self, namespace: str, pod: str, container: str, lines: int) -> str:
        self._answers()
        assert (namespace, container) == ("team-search", "worker")
        return "\n".join(self.logs[pod].splitlines()[-lines:])

    # the store

    async def signs(self, uids: Sequence[str]) -> dict[str, float]:
        self._up()
        return self.seen if uids else {}

    async def dead_letters(self, uid: str, limit: int, cursor: int = 0) -> Letters:
        self._up()
        return [one for one in self.letters.get(uid, []) if one.position >= cursor][:limit]

    async def count(self, name: str, seconds: int) -> tuple[int, float]:
        self._up()
        self.counted[name] = self.counted.get(name, 0) + 1
        return self.counted[name], float(seconds)

    async def results(self, uid: str, first: int = 0, end: int | None = None) -> AsyncIterator[ItemResult]:
        for one in self.found.get(uid, []):
            if first <= one.position and (end is None or one.position < end):
                yield one

    async def read(self, since: float, until: float) -> AsyncIterator[RunRecord]:
        for one in self.records:
            if since <= one.ended < until:
                yield one

    async def counts(self, queues: Sequence[str], owner: str | None = None) -> dict[str, dict[Phase, int]]:
        self._up()
        seen = [row for row in self.rows if owner in {None, row.owner}]
        return {
            queue: {phase: sum(row.queue == queue and row.phase == phase for row in seen) for phase in Phase}
            for queue in queues
        }

    async def search(
        self, query: Query, _: float, *, owner: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        self._up()
        seen = [row for row in self.rows if owner in {None, row.owner} and _fits(row, query)]
        first = int(cursor or 0)
        more = first + limit < len(seen)
        return Page(seen[first : first + limit], str(first + limit) if more else None, len(seen) - first)

    def _answers(self) -> None:
        if self.kube_error:
            raise self.kube_error

    def _up(self) -> None:
        if self.store_error:
            raise self.store_error


class Audit:
    """The audit trail, without the store."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def put(self, *entries: AuditEntry) -> None:
        self._world._up()
        for entry in entries:
            number = len(self._world.audited)
            self._world.audited.append(msgspec.structs.replace(entry, id=f"{int(time.time() * 1000)}-{number}"))

    async def read(
        self, wanted: AuditFilter, *, limit: int, cursor: str | None = None, signed_in: bool = True
    ) -> AuditPage:
        self._world._up()
        found = [one for one in reversed(self._world.audited) if bool(one.user) == signed_in and wanted.fits(one)]
        first = int(cursor.partition("-")[2]) if cursor else None
        found = [one for one in found if first is None or int(one.id.partition("-")[2]) < first]
        return AuditPage(found[:limit], found[limit - 1].id if len(found) > limit else None)


def _fits(row: JobRow, query: Query) -> bool:
    known: dict[str, set[str | None]] = {
        "status": {row.phase.lower()},
        "type": {row.type},
        "queue": {row.queue},
        "owner": {row.owner},
        "namespace": {row.namespace},
        "error": set(row.errors),
        "name": {row.name},
    }
    for (what, excluded), values in query.groups().items():
        begins = what == WORD and any(row.name.startswith(value) for value in values)
        holds = begins or bool(known.get(what, set()) & set(values))
        if holds == excluded:
            return False
    return True


def build_ui(world: World) -> FastAPI:
    """The pages over a world."""
    app = FastAPI(redirect_slashes=False, docs_url=None, redoc_url=None)
    problems.install(app)
    for router in (live.router, *ui.ROUTERS):
        app.include_router(router)
    app.add_middleware(Envelope)
    app.openapi = build_gateway().openapi  # type: ignore[method-assign]  # what the pages about the API are made of
    store: Any = SimpleNamespace(
        audit=Audit(world),
        index=world,
        history=world,
        live=world.live,
        count=world.count,
        dead_letters=world.dead_letters,
        results=world.results,
        signs=world.signs,
    )
    settings = gateway_settings(watch_namespaces=world.watched, **world.settings)
    stand_in: Any = world
    app.state.doors = Doors(settings, kube=stand_in, store=store, gate=stand_in, annotator={})
    return app


def add_job(world: World, row: JobRow, spec: dict[str, Any], status: dict[str, Any]) -> None:
    """A BatchJob, in Kubernetes and in the index."""
    metadata = {
        "name": row.name,
        "namespace": row.namespace,
        "uid": row.uid,
        "creationTimestamp": stamp(time.time() - row.created),
    }
    counts = {
        name: getattr(row, name)
        for name in ("total", "waiting", "delayed", "active", "succeeded", "failed", "cancelled")
    }
    world.jobs[row.namespace, row.name] = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "BatchJob",
        "metadata": metadata,
        "spec": {"type": row.type, "owner": row.owner, **spec},
        "status": {"phase": row.phase, "counts": counts, **status},
    }
    world.rows.append(row)


def sign(client: httpx2.AsyncClient, token: str) -> None:
    """Let a client be somebody's who is signed in."""
    client.headers["Cookie"] = f"{COOKIE}={token}"
