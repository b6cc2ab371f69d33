"""From a view to an answer: templates that escape every value, and the headers of a page."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError
from starlette.responses import HTMLResponse, RedirectResponse, Response

from batchjob.errors import KubernetesError, StoreError
from batchjob.gateway.access import Caller
from batchjob.gateway.problems import TOO_MANY, UNAUTHENTICATED, UNAVAILABLE, Problem, build_problem
from batchjob.gateway.ui import session, words
from batchjob.gateway.ui.assets import ASSETS, ROOT

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # a form says with it from where it came
}
NAVIGATION: Final = (
    ("overview", "Overview", ROOT, "g o"),
    ("jobs", "Jobs", f"{ROOT}/jobs", "g j"),
    ("letters", "Dead letters", f"{ROOT}/dead-letters", "g d"),
    ("schedules", "Schedules", f"{ROOT}/schedules", "g s"),
    ("workers", "Workers", f"{ROOT}/workers", "g w"),
    ("audit", "Audit", f"{ROOT}/audit", "g a"),
)

_templates = Environment(
    loader=PackageLoader("batchjob.gateway.ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters |= {"number": words.number, "shortened": words.shortened, "coded": words.coded}
_templates.globals |= {"root": ROOT, "assets": ASSETS, "navigation": NAVIGATION, "plural": words.plural}


def build_html(template: str, **values: Any) -> str:
    """A page's text."""
    return _templates.get_template(template).render({"who": None, "is_admin": False, "here": ""} | values)


async def page(template: str, caller: Caller, **values: Any) -> HTMLResponse:
    """A page for somebody who is signed in."""
    html = build_html(template, who=caller.name, is_admin=await caller.is_admin(), **values)
    return HTMLResponse(html, headers=HEADERS)


def refusal(problem: Problem, request: Request) -> HTMLResponse:
    """A problem as a page: what is wrong, and what to do."""
    again = request.method == "GET" and problem.slug in {UNAVAILABLE, TOO_MANY}
    who = getattr(request.state, "caller", None)  # None: it was refused before that was known
    said = {"title": problem.slug.title, "status": problem.slug.status, "detail": problem.detail}
    html = build_html("problem.html", who=who, again=again, **said)
    kept = {name: value for name, value in problem.headers.items() if name != "WWW-Authenticate"}
    return HTMLResponse(html, problem.slug.status, HEADERS | kept)


class Page(APIRoute):
    """A route whose errors are pages too, and which sends to the sign-in those who are not."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, in its frame."""
        handle = super().get_route_handler()

        async def framed(request: Request) -> Response:
            try:
                return await handle(request)
            except session.SignInNeeded:
                return RedirectResponse(session.sign_in_path(request), 303)
            except (Problem, RequestValidationError, ValidationError, StoreError, KubernetesError) as error:
                problem = build_problem(error)
                if problem.slug is not UNAUTHENTICATED:
                    return refusal(problem, request)
                answer = RedirectResponse(session.sign_in_path(request), 303)
                session.forget(request, answer)  # the token has ended, or never was one
                return answer

        return framed
