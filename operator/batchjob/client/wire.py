"""What both shells share of httpx2: requests with their token, what an error of it means, and settings."""

from importlib.metadata import version
from typing import Any, Final

import httpx2

from batchjob.client.bodies import Packed
from batchjob.client.steps import NotAnswered, Open, Reply, Send
from batchjob.errors import ConfigurationError

CONNECT_SECONDS: Final = 10.0
STORED_SECONDS: Final = 120.0  # of silence, once many items were sent: they are stored before the answer
# Nothing of the request had gone out.
_UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


def checked_url(url: str) -> str:
    """The address of a gateway, without what is written down on the way."""
    found = httpx2.URL(url)
    if found.scheme not in {"http", "https"} or not found.host:
        raise ConfigurationError("url: has to be the gateway's, such as https://batchjob.example.org")
    if found.userinfo or found.query or found.fragment:
        raise ConfigurationError(
            "url: may hold no user, password, query or fragment: a token has an argument of its own"
        )
    return url.rstrip("/")


def settings(url: str, timeout: float, verify: Any) -> dict[str, Any]:
    """How both clients are made. Redirects are not followed: they may lead a token elsewhere."""
    return {
        "base_url": checked_url(url),
        "timeout": httpx2.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        "verify": verify,
        "follow_redirects": False,
        "headers": {"Accept": "application/json", "User-Agent": f"batchjob-python/{version('batchjob')}"},
    }


def build(http: httpx2.Client | httpx2.AsyncClient, step: Send | Open, authorization: str) -> httpx2.Request:
    """The request of a step."""
    request = step.request
    body, more = request.body, dict[str, Any]()
    headers = {**request.headers, "Authorization": authorization}
    if isinstance(step, Open):
        more["timeout"] = httpx2.Timeout(step.silence_seconds, connect=min(step.silence_seconds, CONNECT_SECONDS))
    if isinstance(body, Packed):
        more["timeout"] = httpx2.Timeout(STORED_SECONDS, connect=CONNECT_SECONDS)
        headers["Content-Length"] = str(body.size)
        content: Any = body.parts_in_turn() if isinstance(http, httpx2.AsyncClient) else body.parts()
    else:
        content = body
    return http.build_request(
        request.method,
        request.path,
        params={**request.params},
        content=content,
        headers=headers,
        **more,
    )


def reply(response: httpx2.Response, body: bytes = b"") -> Reply:
    """An answer."""
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def not_answered(error: httpx2.RequestError, request: httpx2.Request | None) -> NotAnswered:
    """What an error means. It is not kept as a cause: it holds the request, and that the token."""
    where = f"{request.method} {request.url.path} at {request.url.host}: " if request else ""
    said = f": {error}" if str(error) else ""
    return NotAnswered(f"{where}{type(error).__name__}{said}", not isinstance(error, _UNSENT))
