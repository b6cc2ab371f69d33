"""The static files, each under a name with the hash of what it holds: kept for ever, and replaced at once.

They are packed, once; pages never are: what an attacker wrote beside what is secret would tell of it by its size.
"""

import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from starlette.responses import Response

from batchjob.gateway.problems import NOT_FOUND, Problem

ROOT: Final = "/admin/queues"
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


class Asset(NamedTuple):
    """One file, as it is served."""

    body: bytes
    packed: bytes
    media_type: str
    etag: str
    path: str

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """It, packed for who can unpack it; or that it is still the same."""
        told = {"ETag": self.etag, "Vary": "Accept-Encoding", **headers}
        if request.headers.get("If-None-Match") == self.etag:
            return Response(status_code=304, headers=told)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return Response(self.packed, headers=told | {"Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(self.body, headers=told, media_type=self.media_type)


def _read() -> dict[str, Asset]:
    found = {}
    for file in (files(__package__) / "static").iterdir():
        stem, _, ending = file.name.rpartition(".")
        if ending in _TYPES:
            body = file.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:16]
            path = f"{ROOT}/static/{stem}.{digest}.{ending}"
            found[file.name] = Asset(body, gzip.compress(body, mtime=0), _TYPES[ending], f'"{digest}"', path)
    return found


ASSETS: Final = _read()
_BY_PATH: Final = {asset.path: asset for asset in ASSETS.values()}

router = APIRouter(include_in_schema=False)


@router.get(ROOT + "/static/{name}")
async def serve(name: str, request: Request) -> Response:
    """A file; nothing of them is secret, so nobody is asked who they are."""
    asset = _BY_PATH.get(f"{ROOT}/static/{name}")
    if asset is None:
        raise Problem(NOT_FOUND, "There is no such file: load the page again")
    return asset.answer(request, {"Cache-Control": "public, max-age=31536000, immutable"})
