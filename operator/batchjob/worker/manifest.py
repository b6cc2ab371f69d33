"""The manifest: written last, it lists every part with rows, bytes and SHA-256. What it does not list does not count.

A part of results has one of its own beside it until then, its index: should the store be lost, it tells what is done.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from batchjob import log
from batchjob.api.run import Run
from batchjob.core.ranges import Ranges
from batchjob.files.files import TEMPORARY_SUFFIX, Files
from batchjob.store import ItemResult
from batchjob.worker.processor import Sealed

MANIFEST: Final = "manifest.json"
PART_PREFIX: Final = "part-"
INDEX_SUFFIX: Final = ".index.json"

logger = log.get(__name__)


class Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A file that belongs to a run."""

    name: str
    rows: int
    bytes: int
    sha256: str
    positions: str = ""  # of results: of its rows in the source, from 0 and in their order, as ranges
    empty_columns: list[str] = []  # of an export, for which no item of the part has a value
    header_bytes: int = 0  # of an export that will be one file: those before its rows, which that file has once


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a manifest says."""

    batch_job: str
    uid: str
    parts: list[Part]
    rows: int
    bytes: int
    source_sha256: str = ""  # of the source to which positions refer
    empty_columns: list[str] = []
    missing_rows: int = 0  # of items that were done before the store was lost, and whose results were in no part
    missing: str = ""  # their positions, as ranges


def describe(name: str, rows: int, body: bytes) -> Part:
    """The manifest's line about a file."""
    return Part(name, rows, len(body), hashlib.sha256(body).hexdigest())


def read_parts(committed: Mapping[str, bytes]) -> list[Part]:
    """Parts as they are kept in the store (name → JSON with rows, bytes, sha256), sorted by name."""
    return [
        msgspec.convert({**msgspec.json.decode(fields), "name": name}, Part)
        for name, fields in sorted(committed.items())
    ]


def build_manifest(run: Run, parts: list[Part], source_sha256: str = "", missing: str = "") -> bytes:
    """The manifest as JSON; `missing`: positions of items that are done and in no part."""
    document = Manifest(
        batch_job=run.name,
        uid=run.uid,
        parts=parts,
        rows=sum(part.rows for part in parts),
        bytes=sum(part.bytes for part in parts),
        source_sha256=source_sha256,
        empty_columns=empty_columns(parts),
        missing_rows=len(Ranges(missing)),
        missing=missing,
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def empty_columns(parts: list[Part]) -> list[str]:
    """Columns for which no item of the run has a value."""
    first = parts[0].empty_columns if parts else []
    return [name for name in first if all(name in part.empty_columns for part in parts)]


async def write_manifest(
    files: Files,
    run: Run,
    parts: list[Part],
    source_sha256: str = "",
    missing: str = "",
    joined: Collection[str] = (),
) -> Sealed:
    """Remove files that nothing vouches for (of a worker that was lost), then write the manifest.

    Indexes go after it, and parts that were `joined` into one: at every moment one or the other tells what is there.
    """
    listed = {part.name for part in parts}
    ours = [name for name in await files.names() if name.startswith(PART_PREFIX) or name.endswith(TEMPORARY_SUFFIX)]
    unlisted = [name for name in ours if name not in listed]
    late = [name for name in unlisted if name.endswith(INDEX_SUFFIX) or name in joined]
    for name in unlisted:
        if name not in late:
            await files.delete(name)
    if empty := empty_columns(parts):
        logger.warning("no item has a value for these columns: check spec.export.columns", columns=empty)
    body = build_manifest(run, parts, source_sha256, missing)
    await files.put(MANIFEST, body)
    for name in late:
        await files.delete(name)
    return Sealed(files.url(MANIFEST), hashlib.sha256(body).hexdigest())


def as_row(found: ItemResult) -> dict[str, Any]:
    """A result as a record with the item's id: an object as it is, anything else as `value`.

    So is an object with another id: a row has to tell its item. (A source may have had the id as a number.)
    """
    document = msgspec.json.decode(found.result)
    if isinstance(document, dict):
        named = document.get("id", found.id)
        if named == found.id or (type(named) is int and str(named) == found.id):
            return {"id": found.id} | document | {"id": found.id}
    return {"id": found.id, "value": document}
