"""Signing in, with a token from a form or at the issuer, and signing out."""

from contextlib import suppress

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from batchjob.errors import KubernetesError
from batchjob.gateway.addresses import client_address
from batchjob.gateway.audit import SESSION, Deed, acted
from batchjob.gateway.code_flow import KEPT_SECONDS, CodeFlow, Refused, unpack
from batchjob.gateway.doors import Doors, DoorsOf, admit
from batchjob.gateway.identity import Unauthenticated
from batchjob.gateway.problems import NOT_FOUND, UNAUTHENTICATED, Problem
from batchjob.gateway.tokens import issuer_of
from batchjob.gateway.ui import session
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.pages import HEADERS, Page, build_html

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=Page)


@router.get("/sign-in")
async def ask(request: Request, doors: DoorsOf) -> Response:
    """The form, and the way to the issuer."""
    return _form(doors, request.query_params.get("next", ROOT))


@router.post("/sign-in")
async def sign_in(request: Request, doors: DoorsOf) -> Response:
    """A token from the form: looked at once here, and with every request from then on."""
    session.check_origin(request)
    form = await session.read_form(request, session.MOST_SIGN_IN)
    token, target = form.get("token", [""])[0].strip(), form.get("next", [ROOT])[0]
    if not token:
        return _form(doors, target, "token: nothing was given. Paste a token.")
    if len(token) > session.MOST_TOKEN:
        return _form(doors, target, f"token: {_too_long(token)}")
    try:
        await admit(request, doors, f"Bearer {token}")
    except Problem as problem:
        if problem.slug is not UNAUTHENTICATED:
            raise
        return _form(doors, target, f"token: {problem.detail}")
    answer = RedirectResponse(session.inside(target), 303)
    session.keep(request, answer, session.COOKIE, token)
    return answer


@router.get("/sign-in/start")
async def start(request: Request, doors: DoorsOf) -> Response:
    """To the issuer."""
    return await _begin(request, _flow(doors), is_silent=False)


@router.get("/sign-in/again")
async def again(request: Request, doors: DoorsOf) -> Response:
    """To the issuer, which is to ask the user nothing: the token has ended, and it may know the browser still."""
    return await _begin(request, _flow(doors), is_silent=True)


@router.get("/sign-in/callback")
async def come_back(request: Request, doors: DoorsOf) -> Response:
    """From the issuer, with a code."""
    flow, begun = _flow(doors), unpack(request.cookies.get(session.cookie(request, session.BEGUN)))
    try:
        if begun is None:
            raise Refused(f"it was not begun in this browser at {request.url.netloc}, or too long ago: begin again")
        address = client_address(request, doors.settings.trusted_proxies)
        caller, token = await doors.gate.admit_back(flow, request.query_params, begun, address)
        if len(token) > session.MOST_TOKEN:
            raise Refused(f"{_too_long(token)} Let the issuer name fewer groups and claims in it.")
    except Unauthenticated as error:
        target = begun.target if begun else ROOT
        if begun and begun.is_silent and isinstance(error, Refused) and error.must_ask:
            return _ended(request, RedirectResponse(f"{ROOT}/sign-in/start?{session.next_query(target)}", 303))
        acted(Deed("sign-in", SESSION, {}, outcome="refused"))
        return _ended(request, _form(doors, target, f"The sign-in did not succeed: {error}"))
    request.state.caller = caller.name
    acted(Deed("sign-in", SESSION, {}))
    answer = RedirectResponse(session.inside(begun.target), 303)
    session.keep(request, answer, session.COOKIE, token)
    return _ended(request, answer)


@router.post("/sign-out")
async def sign_out(request: Request, doors: DoorsOf) -> Response:
    """Forget the token; a page says where the issuer can be told too."""
    session.check_origin(request)
    token = session.token_of(request)
    with suppress(Problem, KubernetesError):  # who it was is for the audit trail alone
        if token:
            await admit(request, doors, f"Bearer {token}")
    answer: Response = RedirectResponse(f"{ROOT}/sign-in", 303)
    flow = doors.gate.code_flow
    if flow and issuer_of(token) == doors.settings.oidc_issuer:
        path = None
        with suppress(Problem):  # it does not answer: we forget all the same
            path = await flow.sign_out()
        if path:
            answer = HTMLResponse(build_html("signed_out.html", path=path, label=flow.label), headers=HEADERS)
    session.forget(request, answer)
    return answer


def _flow(doors: Doors) -> CodeFlow:
    flow = doors.gate.code_flow
    if flow is None:
        raise Problem(NOT_FOUND, "Nobody signs in at an issuer here (BATCHJOB_OIDC_CLIENT_ID): paste a token")
    return flow


async def _begin(request: Request, flow: CodeFlow, *, is_silent: bool) -> Response:
    there, begun = await flow.begin(session.inside(request.query_params.get("next", ROOT)), is_silent=is_silent)
    answer = RedirectResponse(there, 303)
    session.keep(request, answer, session.BEGUN, begun.pack(), KEPT_SECONDS)
    return answer


def _ended(request: Request, answer: Response) -> Response:
    session.forget(request, answer, session.BEGUN)
    return answer


def _form(doors: Doors, target: str, fault: str = "") -> HTMLResponse:
    target, flow = session.inside(target), doors.gate.code_flow
    html = build_html(
        "sign_in.html",
        target=target,
        fault=fault,
        issuer=flow.label if flow else "",
        start=f"{ROOT}/sign-in/start?{session.next_query(target)}",
    )
    return HTMLResponse(html, 422 if fault else 200, HEADERS)


def _too_long(token: str) -> str:
    return f"it has {len(token):,} characters, and browsers keep {session.MOST_TOKEN:,}."
