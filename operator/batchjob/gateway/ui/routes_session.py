"""Signing in with a token, and signing out."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from batchjob.gateway.doors import DoorsOf
from batchjob.gateway.problems import UNAUTHENTICATED, Problem
from batchjob.gateway.ui import session
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.pages import HEADERS, Page, build_html

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=Page)


@router.get("/sign-in")
async def ask(request: Request) -> Response:
    """The form."""
    return _form(request.query_params.get("next", ROOT))


@router.post("/sign-in")
async def sign_in(request: Request, doors: DoorsOf) -> Response:
    """A token from the form: looked at once here, and with every request from then on."""
    session.check_origin(request)
    form = await session.read_form(request)
    token, target = form.get("token", [""])[0].strip(), form.get("next", [ROOT])[0]
    if not token:
        return _form(target, "token: nothing was given. Paste a token.")
    if len(token) > session.MOST_TOKEN:
        return _form(target, f"token: it has {len(token):,} characters, and browsers keep {session.MOST_TOKEN:,}.")
    try:
        await doors.gate.admit(f"Bearer {token}")
    except Problem as problem:
        if problem.slug is not UNAUTHENTICATED:
            raise
        return _form(target, f"token: {problem.detail}")
    answer = RedirectResponse(session.inside(target), 303)
    session.keep(answer, token)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Forget the token."""
    session.check_origin(request)
    answer = RedirectResponse(f"{ROOT}/sign-in", 303)
    session.forget(answer)
    return answer


def _form(target: str, fault: str = "") -> HTMLResponse:
    html = build_html("sign_in.html", target=session.inside(target), fault=fault)
    return HTMLResponse(html, 422 if fault else 200, HEADERS)
