"""Calls to the Kubernetes API: a time limit on each, retries where they are safe, typed errors.

A call that the server refused for the moment (429, 5xx, a token that was replaced) or did not answer is tried again a
few times with jitter, but a create only where it was surely not carried out: else the next reconcile finds out.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp

from batchjob.errors import ApiUnavailable, Conflict, KubernetesError, NotFound
from batchjob.kube.access import Access
from batchjob.kube.answers import NOT_DONE, WRONG_SHAPE, WatchEvent, build_error, check_object, read_watch_event
from batchjob.kube.fence import build_fence
from batchjob.kube.resources import PODS, Resource
from batchjob.kube.session import decode, in_words, open_session
from batchjob.kube.throttle import Throttle
from batchjob.metrics import API_REQUESTS

CALL_SECONDS: Final = 10.0  # the server's own limit is 60; `leader` itself cuts all tries of a renewal short
LIST_SECONDS: Final = 60.0
NAMES_PAGE: Final = 100  # names of a page: kubectl's copy of the whole object comes with them, as an annotation
MAX_TRIES: Final = 4
FIRST_DELAY_SECONDS: Final = 0.25
MAX_DELAY_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 15.0  # a watch that outlives its agreed end by this much is dead
LOG_BYTES: Final = 4 * 1024 * 1024  # of a log: lines are as long as who writes them likes

_NAMES_ONLY: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_PLAIN: Final = "*/*"  # a log is text, and the server takes no other wish
_MERGE: Final = "application/merge-patch+json"

Shorten = Callable[[dict[str, Any]], dict[str, Any]]


class Listing(NamedTuple):
    """Objects of a kind, and the version from which to watch."""

    items: list[dict[str, Any]]
    resource_version: str


class Kube:
    """A client; use it as an async context manager. Errors of every call: KubernetesError and those below it."""

    def __init__(
        self,
        access: Access,
        throttle: Throttle | None = None,
        *,
        strict: bool = False,
        may_write: Callable[[], bool] | None = None,
    ) -> None:
        """`throttle` None: calls that must never wait behind others, such as the Lease's.

        `strict`: what we write is other people's, and a field that the kind does not have is refused. Else it is
        dropped, as a newer operator needs it before the CRDs are its own. `may_write`: see `fence`.
        """
        self._fences = [build_fence(may_write)] if may_write else None
        self._writing = {"fieldValidation": "Strict"} if strict else None
        self.access = access
        self._throttle = throttle
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session(self.access, traces=self._fences)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def serves(self, resource: Resource) -> bool:
        """Whether the API server knows the kind."""
        try:
            found = await self._call("get", "GET", f"/apis/{resource.api_version}")
        except NotFound:
            return False
        return any(kind["name"] == resource.plural for kind in found["resources"])

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """One object; NotFound."""
        return await self._call("get", "GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        names_only: bool = False,
        shorten: Shorten | None = None,
    ) -> Listing:
        """All objects of a kind, page by page; `names_only` leaves everything but their metadata out.

        `shorten` makes of each object what is kept of it, so that no more than a page is ever there in full.
        """
        size = NAMES_PAGE if names_only else resource.page_size
        query = _given(labelSelector=labels, fieldSelector=fields, limit=str(size))
        path, headers = resource.path(namespace), {"Accept": _NAMES_ONLY} if names_only else {}
        items: list[dict[str, Any]] = []
        while True:
            page = await self._call("list", "GET", path, query=query, headers=headers, seconds=LIST_SECONDS)
            try:
                found = page["items"] or ()  # an empty list of names comes as null
                for item in found:
                    check_object(item)
                version, more = page["metadata"]["resourceVersion"], page["metadata"].get("continue")
                int(version)
            except WRONG_SHAPE as error:  # of a proxy, say
                raise ApiUnavailable(f"listing {resource.plural}: an answer that is no list: {error!r}") from error
            items += map(shorten, found) if shorten else found
            if not more:
                return Listing(items, version)
            query = {**query, "continue": more}

    async def log(self, namespace: str, pod: str, container: str, lines: int) -> str:
        """The last lines of a container's log; Invalid where it has none yet."""
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(LOG_BYTES)}
        path = PODS.path(namespace, pod, "log")
        found = await self._call("get", "GET", path, query=query, headers={"Accept": _PLAIN})
        return str(found["text"])

    async def follow_log(self, namespace: str, pod: str, container: str, lines: int) -> AsyncGenerator[str]:
        """A container's log from its last lines on, until it ends; Invalid where it has none yet."""
        query = {"container": container, "tailLines": str(lines), "follow": "true"}
        url, headers = self.access.server + PODS.path(namespace, pod, "log"), self._headers({"Accept": _PLAIN})
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CALL_SECONDS)
        try:
            async with self._open().get(url, params=query, headers=headers, timeout=limit) as answer:
                if answer.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
                    raise self._error(answer, await answer.text(), "GET")
                async for line in answer.content:
                    yield line.decode(errors="replace").rstrip("\n")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:  # ValueError: a line that has no end
            raise ApiUnavailable(f"it broke off: {in_words(error)}") from error

    async def create(
        self, resource: Resource, namespace: str | None, body: Mapping[str, Any], *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Create an object, or have it checked alone (`dry_run`); AlreadyExists where the name is taken."""
        query = {**(self._writing or {}), **({"dryRun": "All"} if dry_run else {})}
        return await self._call("create", "POST", resource.path(namespace), query=query, body=body)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        change: Mapping[str, Any],
        *,
        subresource: str | None = None,
        resource_version: str | None = None,
    ) -> dict[str, Any]:
        """Merge-patch an object; with `resource_version`, Conflict where it is no longer the current one."""
        body = {**change}
        if resource_version is not None:
            body["metadata"] = {**body.get("metadata", {}), "resourceVersion": resource_version}
        path, headers = resource.path(namespace, name, subresource), {"Content-Type": _MERGE}
        return await self._call("patch", "PATCH", path, query=self._writing, body=body, headers=headers)

    async def delete(self, resource: Resource, namespace: str, name: str, **only: str) -> bool:
        """Delete an object and what it owns; False where it is gone or no more `only` this `uid`, `resourceVersion`."""
        body = {"propagationPolicy": "Background", "preconditions": only}
        try:
            await self._call("delete", "DELETE", resource.path(namespace, name), body=body)
        except NotFound:
            return False
        except Conflict:
            with suppress(NotFound):
                there = (await self.get(resource, namespace, name))["metadata"]
                if all(there[key] == value for key, value in only.items()):
                    raise
            return False
        return True

    async def watch(
        self,
        resource: Resource,
        namespace: str | None,
        since: str,
        *,
        labels: str | None = None,
        seconds: float = 60.0,
    ) -> AsyncGenerator[WatchEvent]:
        """Changes after the version `since`, for about `seconds`; then it ends and may be taken up again.

        Errors: Gone where `since` is too old; ApiUnavailable where the stream breaks or falls silent.
        """
        query = _given(
            watch="1",
            allowWatchBookmarks="true",
            resourceVersion=since,
            labelSelector=labels,
            timeoutSeconds=str(max(1, round(seconds))),
        )
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CALL_SECONDS, sock_read=seconds + SILENCE_SECONDS)
        url, status = self.access.server + resource.path(namespace), 0
        try:
            async with self._open().get(url, params=query, headers=self._headers({}), timeout=limit) as answer:
                status = answer.status
                API_REQUESTS.labels("watch", str(status)).inc()
                if status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
                    raise self._error(answer, await answer.text(), "GET")
                async for line in answer.content:
                    yield read_watch_event(line)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if not status:
                API_REQUESTS.labels("watch", "0").inc()
            raise ApiUnavailable(f"watching {resource.plural} broke: {in_words(error)}") from error

    async def _call(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> dict[str, Any]:
        for attempt in range(1, MAX_TRIES + 1):
            if self._throttle:
                await self._throttle.acquire()
            try:
                return await self._once(verb, method, path, query, body, headers or {}, seconds)
            except ApiUnavailable as error:
                if attempt == MAX_TRIES or (method == "POST" and error.status not in NOT_DONE):
                    raise
                await asyncio.sleep(_delay_seconds(attempt, error.retry_after_seconds))
        raise AssertionError("unreachable: the last try returns or raises")

    async def _once(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> dict[str, Any]:
        try:
            request = self._open().request(
                method,
                self.access.server + path,
                params=query,
                data=None if body is None else json.dumps(body).encode(),
                headers=self._headers(headers),
                timeout=aiohttp.ClientTimeout(total=seconds),
            )
            async with request as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            API_REQUESTS.labels(verb, "0").inc()
            raise ApiUnavailable(f"{method} {path}: no answer from the Kubernetes API: {in_words(error)}") from error
        API_REQUESTS.labels(verb, str(answer.status)).inc()
        if answer.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
            raise self._error(answer, text.decode(errors="replace"), method)
        try:
            is_text = headers.get("Accept") == _PLAIN
            found: dict[str, Any] = {"text": text.decode(errors="replace")} if is_text else decode(text)
        except ValueError as error:  # of a proxy, say
            raise ApiUnavailable(f"{method} {path}: an answer that is no JSON: {text[:64]!r}") from error
        return found

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Kube as an async context manager")
        return self._session

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"Accept": "application/json", "Content-Type": "application/json", **self.access.headers(), **more}

    def _error(self, answer: aiohttp.ClientResponse, text: str, method: str) -> KubernetesError:
        if answer.status == 401:  # noqa: PLR2004 - HTTP's own
            self.access.forget_token()
        return build_error(answer.status, text, method, answer.headers.get("Retry-After"))


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _delay_seconds(attempt: int, asked: float | None) -> float:
    grown: float = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (attempt - 1))
    jittered = grown * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    return max(jittered, min(asked or 0.0, MAX_DELAY_SECONDS))
