"""The manifest: written last, it lists every part with rows, bytes and SHA-256. What it does not list does not count.

`results.destination` uses it too: at the end, the results in the store become JSONL parts.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from batchjob import log
from batchjob.api.run import Run
from batchjob.store import ItemResult
from batchjob.worker.files import Files
from batchjob.worker.processor import Sealed

MANIFEST: Final = "manifest.json"
PART_PREFIX: Final = "part-"
PART_BYTES: Final = 8 * 1024 * 1024  # of results: small enough for memory, large enough for object stores

logger = log.get(__name__)


class Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A file that belongs to a run."""

    name: str
    rows: int
    bytes: int
    sha256: str
    empty_columns: list[str] = []  # of an export, for which no item of the part has a value


def describe(name: str, rows: int, body: bytes) -> Part:
    """The manifest's line about a file."""
    return Part(name, rows, len(body), hashlib.sha256(body).hexdigest())


def read_parts(committed: Mapping[str, bytes]) -> list[Part]:
    """Parts as processors committed them (name → JSON with rows, bytes, sha256), sorted by name."""
    return [
        msgspec.convert({"name": name, **msgspec.json.decode(fields)}, Part)
        for name, fields in sorted(committed.items())
    ]


def build_manifest(run: Run, parts: list[Part]) -> bytes:
    """The manifest as JSON."""
    document: dict[str, Any] = {
        "batchJob": run.name,
        "uid": run.uid,
        "parts": [msgspec.to_builtins(part) for part in parts],
        "rows": sum(part.rows for part in parts),
        "bytes": sum(part.bytes for part in parts),
    }
    if empty := empty_columns(parts):
        document["emptyColumns"] = empty
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def empty_columns(parts: list[Part]) -> list[str]:
    """Columns for which no item of the run has a value."""
    first = parts[0].empty_columns if parts else []
    return [name for name in first if all(name in part.empty_columns for part in parts)]


async def write_manifest(files: Files, run: Run, parts: list[Part]) -> Sealed:
    """Remove part files that nothing vouches for (of a worker that was lost), then write the manifest."""
    listed = {part.name for part in parts}
    for name in await files.names():
        if name.startswith(PART_PREFIX) and name not in listed:
            await files.delete(name)
    if empty := empty_columns(parts):
        logger.warning("no item has a value for these columns: check spec.export.columns", columns=empty)
    body = build_manifest(run, parts)
    await files.put(MANIFEST, body)
    return Sealed(files.url(MANIFEST), hashlib.sha256(body).hexdigest())


async def write_results(files: Files, run: Run, results: AsyncIterator[ItemResult]) -> Sealed:
    """Write the results of a run as JSONL parts of at most 8 MiB (a larger line has a part of its own)."""
    parts: list[Part] = []
    lines: list[bytes] = []
    size = 0

    async def finish() -> None:
        body = b"".join(lines)
        part = describe(f"{PART_PREFIX}{len(parts):06d}.jsonl", len(lines), body)
        await files.put(part.name, body)
        parts.append(part)

    async for found in results:
        line = msgspec.json.encode(as_row(found)) + b"\n"
        if lines and size + len(line) > PART_BYTES:
            await finish()
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        await finish()
    return await write_manifest(files, run, parts)


def as_row(found: ItemResult) -> dict[str, Any]:
    """A result as a record with the item's id: an object as it is, anything else as `value`."""
    document = msgspec.json.decode(found.result)
    return {"id": found.id} | (document if isinstance(document, dict) else {"value": document})
