"""What is around every request: an id, security headers, log line, audit trail, time in the metrics, the last resort.

Plain ASGI: an answer may be a stream that lasts for hours, which the framework's own middleware would buffer.
"""

import re
import time
import uuid
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchjob import log, traces
from batchjob.gateway.audit import Trail
from batchjob.gateway.problems import internal
from batchjob.metrics import GATEWAY_REQUESTS

REQUEST_ID: Final = "X-Request-Id"
# A page of ours may come to say something else (a route's own header wins); data has nothing to load.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HSTS: Final = "Strict-Transport-Security"  # heard where TLS is in front of us, ignored elsewhere
YEAR_SECONDS: Final = 31_536_000
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

logger = log.get(__name__)


class Envelope:
    """The ASGI middleware."""

    def __init__(self, app: ASGIApp, hsts_seconds: int = YEAR_SECONDS) -> None:
        self._app = app
        hsts = {HSTS: f"max-age={hsts_seconds}"} if hsts_seconds else {}
        self._headers = SECURITY_HEADERS | hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        span = traces.of_request(headers.get("traceparent"))
        named = {"request": _request_id(headers)} | ({"trace_id": span.trace_id} if span else {})
        with structlog.contextvars.bound_contextvars(**named), traces.within(span):
            await _Exchange(self._app, scope, send, self._headers).run(receive)


class _Exchange:
    """One request and its answer; `code` 0 until the latter has begun."""

    def __init__(self, app: ASGIApp, scope: Scope, send: Send, headers: Mapping[str, str]) -> None:
        self._app, self._scope, self._send, self._headers = app, scope, send, headers
        self._code = 0
        self._began = time.monotonic()
        self._trail = Trail(scope)

    async def run(self, receive: Receive) -> None:
        self._trail.begin()
        try:
            await self._app(self._scope, receive, self._dress)
        except Exception:
            logger.exception("a request failed", path=self._scope["path"])
            if self._code or self._scope["type"] != "http":
                raise  # too late for an answer: the server breaks the connection off
            await internal().response()(self._scope, receive, self._dress)
        finally:  # what was done is done, whatever became of the answer
            await self._trail.keep(self._code)
            await self._trail.post()
            self._tell()

    async def _dress(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._code = message["status"]
            await self._trail.keep(self._code)
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = structlog.contextvars.get_contextvars()["request"]
            for name, value in (
                self._scope.get("state", {}).get("headers", {}).items()
            ):  # what the route has for any answer
                headers[name] = value
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        elif message["type"] == "websocket.accept":
            self._code = 101
        elif message["type"] == "http.response.body":
            await self._trail.keep(self._code)  # of a page in pieces, what was done before this one
        await self._send(message)

    def _tell(self) -> None:
        if is_quiet(self._scope):
            return
        seconds = time.monotonic() - self._began
        route = _route(self._scope)
        GATEWAY_REQUESTS.labels(route, str(self._code)).observe(seconds)
        method = self._scope.get("method", "WEBSOCKET")
        user = self._scope.get("state", {}).get("caller")
        logger.info("request", method=method, route=route, code=self._code, seconds=round(seconds, 4), user=user)


def is_quiet(scope: MutableMapping[str, Any]) -> bool:
    """Whether it is asked every few seconds: of that is no line in the log each, no span, and no time in the metrics.

    Among the few requests of people, probes and scrapes would hide that those fail.
    """
    return scope.get("path") in _QUIET


def _request_id(headers: Headers) -> str:
    """The caller's own, where it is a harmless one: so their log and ours can be laid side by side."""
    given = headers.get(REQUEST_ID, "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The route, never the path: a label may not grow with what people ask for."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "none"))
