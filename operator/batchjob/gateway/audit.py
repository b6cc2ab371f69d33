"""Who did what: each unsafe request leaves a line in the log, an entry in the store, and an Event on what it was about.

Routes tell of what they did (`acted`), since one form may be for many objects. A request that changes something and of
which no route told, because it was refused or because a new route forgot, is told of by its method and path: so none
is left out. The log comes first, at once, and is the record of truth: without the store an action goes on, and its
entry is missing on the page. What was sent is never told, nor is any part of a token.
"""

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import structlog
from starlette.requests import HTTPConnection
from starlette.types import Scope

from batchjob import log
from batchjob.api.queue import QUEUE_KIND
from batchjob.api.schedule import SCHEDULE_KIND
from batchjob.api.v1alpha1 import KIND
from batchjob.core.reasons import Reason
from batchjob.errors import KubernetesError, StoreError
from batchjob.gateway.addresses import client_address
from batchjob.gateway.doors import Doors
from batchjob.kube import EVENTS, Regarding, build_event
from batchjob.store import AuditEntry

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
STORE_SECONDS: Final = 1.0  # whoever did something is not to wait for longer
EVENTS_SECONDS: Final = 10.0
EVENTS_AT_ONCE: Final = 8
MOST_EVENTS: Final = 100  # of one request: thousands would hold up those of Kubernetes' own in its API server
UI_ROOT: Final = "/admin/queues"
MANAGER: Final = "batchjob-gateway"  # as Events name us
SESSION: Final = "Session"
_KINDS: Final = {
    "batch-jobs": KIND, "batch": KIND, "jobs": KIND, "queues": QUEUE_KIND, "schedules": SCHEDULE_KIND,
    "sign-in": SESSION, "sign-out": SESSION,
}  # fmt: skip
_VERBS: Final = {"POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete"}
_TOO_MANY, _ERRORS, _OURS = 429, 400, 500

logger = log.get(__name__)
audit = log.get("batchjob.audit")
_trail: "ContextVar[Trail | None]" = ContextVar("trail", default=None)


class Deed(NamedTuple):
    """One thing that was done, or was not."""

    verb: str
    kind: str
    metadata: Mapping[str, Any]  # name, and namespace and uid where there are any
    owner: str | None = None
    made: str = ""
    outcome: str = "done"

    @property
    def object(self) -> str:
        """The object, as ids of the API have it."""
        names = (self.metadata.get("namespace"), self.metadata.get("name"))
        return ".".join(name for name in names if name)


def acted(deed: Deed) -> None:
    """Something was done in this request."""
    if (trail := _trail.get()) is not None:
        trail.tell(deed)


def nothing_yet() -> None:
    """This request changes nothing: it shows what would be done, or does it while the answer goes, and then tells."""
    if (trail := _trail.get()) is not None:
        trail.is_all = True


def build_default(method: str, route: str, parameters: Mapping[str, Any]) -> Deed:
    """What a request is about by its method and route. Pure."""
    steps = [step for step in route.removeprefix(UI_ROOT).split("/") if step]
    kind = next((_KINDS[step] for step in steps if step in _KINDS), "")
    last = steps[-1] if steps else ""
    if last.startswith("{"):
        verb = "change" if method == "POST" else _VERBS.get(method, method.lower())
    elif _KINDS.get(last, SESSION) != SESSION:
        verb = _VERBS.get(method, method.lower())
    else:
        verb = last  # of an action
    return Deed(verb, kind, {"name": ".".join(map(str, parameters.values()))})


def outcome_of(code: int) -> str:
    """What an answer says of what was asked."""
    return "done" if code < _ERRORS else "refused" if code < _OURS else "failed"


class Trail:
    """What one request leaves behind: `begin` before the routes, `keep` before each part of the answer, then `post`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._id = uuid.uuid4().hex  # names its Events: the id in the log may be the caller's, and come twice
        self._deeds: list[Deed] = []
        self._kept: int | None = None  # as many are in the store; None: the answer has not begun
        self._code = 0
        self.is_all = False  # nothing was done but what is told of

    def begin(self) -> None:
        """Let routes tell."""
        _trail.set(self)

    def tell(self, deed: Deed) -> None:
        """Write it into the log, at once: what was done is known even where this process is killed now."""
        self._deeds.append(deed)
        entry = self._entry(deed)
        told = {name: value for name in entry.__struct_fields__ if (value := getattr(entry, name))}
        told.pop("request", None)  # the line has it as each other line of the request
        audit.info("audit", **told)

    async def keep(self, code: int) -> None:
        """Put into the store what is not there yet, each deed once: of a page in pieces, with each of them."""
        if self._scope["type"] != "http" or self._kept == len(self._deeds):
            return
        self._code = code
        if self._kept is None:
            self._tell_default()
        entries = [*map(self._entry, self._deeds[self._kept or 0 :])]
        self._kept = len(self._deeds)
        doors: Doors | None = getattr(self._scope["app"].state, "doors", None)
        if not entries or doors is None or code == _TOO_MANY:  # one too many a thousand times: the log has it
            return
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await doors.store.audit.put(*entries)
        except (StoreError, TimeoutError) as error:
            logger.warning("the audit trail cannot be written: the log alone has it", error=str(error))

    def _tell_default(self) -> None:
        """Tell of what no route told of."""
        method, path = self._scope.get("method", ""), getattr(self._scope.get("route"), "path", None)
        if self._deeds or method in SAFE or (self.is_all and self._code < _ERRORS) or path is None:
            return
        found = build_default(method, path, self._scope.get("path_params", {}))
        self.tell(found._replace(outcome=outcome_of(self._code)))

    def _entry(self, deed: Deed) -> AuditEntry:
        state = self._scope.get("state", {})
        doors: Doors | None = getattr(self._scope["app"].state, "doors", None)
        trusted = doors.settings.trusted_proxies if doors else ()
        return AuditEntry(
            verb=deed.verb,
            outcome=deed.outcome,
            user=state.get("caller") or "",
            kind=deed.kind,
            object=deed.object,
            owner=deed.owner or "",
            made=deed.made,
            code=self._code,
            address=client_address(HTTPConnection(self._scope), trusted),
            via="ui" if self._scope["path"].startswith(UI_ROOT) else "api",
            request=structlog.contextvars.get_contextvars().get("request", ""),
        )

    async def post(self) -> None:
        """Say it on the objects; what cannot be said there is in the log."""
        user = self._scope.get("state", {}).get("caller")
        deeds = [deed for deed in self._deeds if deed.outcome == "done" and deed.metadata.get("uid")]
        if user and deeds:
            try:
                async with asyncio.timeout(EVENTS_SECONDS):
                    await _post(self._scope["app"].state.doors, user, deeds[:MOST_EVENTS], self._id)
            except TimeoutError:
                logger.warning("not all Events were posted in time", of=len(deeds))


async def _post(doors: Doors, user: str, deeds: Iterable[Deed], request: str) -> None:
    gate = asyncio.Semaphore(EVENTS_AT_ONCE)

    async def post(deed: Deed) -> None:
        namespace = deed.metadata.get("namespace") or "default"  # where kubectl looks for those of the cluster
        regarding = Regarding(deed.kind, namespace, deed.metadata["name"], deed.metadata["uid"])
        made = f", which made {deed.made}" if deed.made and deed.made != deed.object else ""
        event = build_event(
            regarding,
            Reason.ACTION_REQUESTED,
            f"{user} asked for {deed.verb} through the gateway{made}",
            about=f"{request}/{deed.verb}",
            by=MANAGER,
            now=datetime.now(UTC),
        )
        async with gate:
            try:
                await doors.kube.create(EVENTS, namespace, event)
            except KubernetesError as error:
                logger.warning("event not posted", about=f"{deed.kind} {deed.object}", error=str(error))

    await asyncio.gather(*map(post, deeds))
