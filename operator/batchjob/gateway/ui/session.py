"""Signing in by browser: a token from a form or from the issuer, kept in a cookie that no script reads.

The cookie holds the token itself. So there are no sessions to store or to fix upon somebody, a replica needs nothing of
another, what the token may is asked with every request, and it ends when the token ends. `__Host-` makes browsers
insist on TLS, and on this host; over plain HTTP to this very machine, as through a port-forward, cookies are plain.
They are sent by themselves, so a request that changes something has to come from a page of ours.
"""

from typing import Annotated, Final
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from batchjob.gateway.access import Caller
from batchjob.gateway.blocks import read_blocks
from batchjob.gateway.doors import DoorsOf, admit, doors_of
from batchjob.gateway.limits import Kind, take
from batchjob.gateway.problems import BAD_REQUEST, FORBIDDEN, TOO_LARGE, Problem
from batchjob.gateway.settings import LOCAL_HOSTS
from batchjob.gateway.tokens import issuer_of
from batchjob.gateway.ui.assets import ROOT

COOKIE: Final = "__Host-batchjob"
BEGUN: Final = "__Host-batchjob-begun"  # of a sign-in at the issuer
MOST_TOKEN: Final = 3800  # characters: browsers drop a cookie of more than 4096
MOST_FORM: Final = 256 * 1024  # bytes: 500 names, and a query
MOST_SIGN_IN: Final = 16 * 1024  # of who is not known yet: a token, and where to go
MOST_FIELDS: Final = 2000
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class SignInNeeded(Exception):
    """Nobody is signed in: to the page that asks for a token."""


async def visitor_of(request: Request, doors: DoorsOf) -> Caller:
    """Who looks at a page."""
    token = token_of(request)
    if not token:
        raise SignInNeeded
    check_origin(request)
    caller = await admit(request, doors, f"Bearer {token}")
    await take(request, Kind.READ if request.method in _SAFE else Kind.CHANGE, caller.name, doors)
    return caller


Visitor = Annotated[Caller, Depends(visitor_of)]


def check_origin(request: Request) -> None:
    """A 403 where a request that changes something comes from another site's page, or does not say from where."""
    if request.method in _SAFE:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    same = site == "same-origin" if site else bool(origin) and urlsplit(origin or "").netloc == request.url.netloc
    if not same:
        raise Problem(FORBIDDEN, "The form was sent from another site's page: open this one and send it from here")


def is_local(request: Request) -> bool:
    """Whether no network is between the browser and us."""
    return request.url.scheme == "http" and request.url.hostname in LOCAL_HOSTS


def cookie(request: Request, name: str) -> str:
    """How a cookie is named here."""
    return name.removeprefix("__Host-") if is_local(request) else name


def token_of(request: Request) -> str:
    """The token that the browser keeps; empty where there is none."""
    return request.cookies.get(cookie(request, COOKIE), "")


def keep(request: Request, answer: Response, name: str, value: str, seconds: int | None = None) -> None:
    """Let the browser keep something for so long; None: until it is closed."""
    named, secure = cookie(request, name), not is_local(request)
    answer.set_cookie(named, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")


def forget(request: Request, answer: Response, name: str = COOKIE) -> None:
    """Let it forget that."""
    named, secure = cookie(request, name), not is_local(request)
    answer.delete_cookie(named, path="/", secure=secure, httponly=True, samesite="lax")


def inside(target: str) -> str:
    """Where to go after signing in: a page of ours, whatever the address says."""
    parts = urlsplit(target)
    ours = not parts.scheme and not parts.netloc and (parts.path == ROOT or parts.path.startswith(ROOT + "/"))
    return target if ours and "\\" not in target and target.isprintable() else ROOT


def sign_in_path(request: Request) -> str:
    """The page that asks for a token, and comes back to where somebody wanted to go."""
    if request.method not in _SAFE:
        return f"{ROOT}/sign-in"
    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"{ROOT}/sign-in{_silently(request)}?{next_query(there)}"


def next_query(target: str) -> str:
    """The query that says where to go after signing in."""
    return f"next={quote(target, safe='')}"


def _silently(request: Request) -> str:
    """Straight to the issuer, where it gave the token that has ended: it may know the browser still.

    A page that fetches itself cannot follow to another site.
    """
    doors = doors_of(request)
    known = doors.gate.code_flow is not None and issuer_of(token_of(request)) == doors.settings.oidc_issuer
    return "/again" if known and request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate" else ""


async def read_form(request: Request, limit: int = MOST_FORM) -> dict[str, list[str]]:
    """The fields of a form that was sent, in bounds of size and time."""
    refusal = Problem(TOO_LARGE, f"This form may have {limit // 1024} KiB: send less of it, or select fewer")
    try:
        body = b"".join([block async for block in read_blocks(request, limit, refusal)])
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise Problem(BAD_REQUEST, "What was sent is no form of this page") from error
