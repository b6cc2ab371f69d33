"""/docs: the API's own description as pages, made here of what /openapi.json and /asyncapi.json say.

The viewers that one could take along (Swagger UI, Redoc, Scalar, RapiDoc) are half a megabyte to several, and need
styles within the page, which the Content-Security-Policy lets none have; these pages need no script at all. Nothing of
them is secret, so nobody has to sign in, and they may be packed and kept.
"""

import gzip
import hashlib
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from batchjob.gateway.live_description import document
from batchjob.gateway.ui import views_docs
from batchjob.gateway.ui.assets import Asset
from batchjob.gateway.ui.pages import HEADERS, build_html

PATH: Final = "/docs"

router = APIRouter(prefix=PATH, include_in_schema=False)


@router.get("")
async def operations(request: Request) -> Response:
    """Every operation, with what it answers, and the live events."""
    return _serve(request, "docs.html")


@router.get("/schemas")
async def schemas(request: Request) -> Response:
    """Every shape that is sent or answered."""
    return _serve(request, "docs_schemas.html")


def _serve(request: Request, template: str) -> Response:
    """A page; all are made once for an application."""
    state = request.app.state
    if not hasattr(state, "docs"):
        state.docs = _build(request.app.openapi())
    page: Asset = state.docs[template]
    return page.answer(request, HEADERS | {"Cache-Control": "no-cache"})


def _build(openapi: dict[str, Any]) -> dict[str, Asset]:
    asyncapi = document()
    values = {
        "docs.html": {
            "groups": views_docs.build_groups(openapi),
            "version": openapi["info"]["version"],
            "channels": views_docs.build_channels(asyncapi),
            "messages": views_docs.build_messages(asyncapi),
        },
        "docs_schemas.html": {"schemas": views_docs.build_schemas(openapi)},
    }
    found = {}
    for template, given in values.items():
        body = build_html(template, docs=PATH, **given).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        found[template] = Asset(body, gzip.compress(body, mtime=0), "text/html; charset=utf-8", tag, PATH)
    return found
