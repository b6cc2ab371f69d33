"""One file of all parts: their bytes one after another, without loading them, under the header of the first.

They go through this pod even within a bucket, which could copy by itself: the manifest has a SHA-256 of the whole, and
that takes every byte. Nothing notes how far a join is. It appears whole or not at all, and then the manifest; parts go
last, so where one is missing, the manifest is there, and whoever seals again finds its work done.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from batchjob.api.run import Run
from batchjob.errors import ResultsError
from batchjob.files.files import TEMPORARY_SUFFIX, Files
from batchjob.worker.manifest import MANIFEST, Manifest, Part, empty_columns, write_manifest
from batchjob.worker.processor import Sealed

WAY_OUT: Final = "somebody removed or changed it: create the BatchJob anew"


async def write_parts(files: Files, run: Run, parts: list[Part], joined: str) -> Sealed:
    """Write the manifest of the parts; of one file made of them where it has a name in `joined`."""
    if not joined:
        return await write_manifest(files, run, parts)
    return await write_joined(files, run, parts, joined)


async def write_joined(files: Files, run: Run, parts: list[Part], name: str) -> Sealed:
    """Join the parts into the file of that name, write its manifest and remove them; no file where there are none.

    Raises ResultsError where a part is not there, or is not what was written.
    """
    names = set(await files.names())
    if missing := [part.name for part in parts if part.name not in names]:
        joined = await _was_joined(files, run, parts, name) if name in names else None
        if joined is None:
            raise ResultsError(f"{files.url(missing[0])} is not there any more: {WAY_OUT}", lasts=True)
    else:
        # What a killed one left may be as large as all parts: with another beside it the place may be full.
        for stray in names:
            if stray.startswith(f"{name}.") and stray.endswith(TEMPORARY_SUFFIX):
                await files.delete(stray)
        joined = [await _join(files, parts, name)] if parts else []
    return await write_manifest(files, run, joined, joined={part.name for part in parts})


async def _was_joined(files: Files, run: Run, parts: list[Part], name: str) -> list[Part] | None:
    """What the manifest says, where it is this join's."""
    body = await files.get(MANIFEST)
    try:
        manifest = msgspec.json.decode(body, type=Manifest) if body else None
    except (msgspec.MsgspecError, ValueError):
        raise ResultsError(f"{files.url(MANIFEST)} is no manifest any more: {WAY_OUT}", lasts=True) from None
    if manifest is None or manifest.uid != run.uid:
        return None
    said = [(part.name, part.rows, part.bytes) for part in manifest.parts]
    return manifest.parts if said == [(name, sum(part.rows for part in parts), _size(parts))] else None


async def _join(files: Files, parts: list[Part], name: str) -> Part:
    digest = hashlib.sha256()
    size = _size(parts)

    async def pieces() -> AsyncIterator[bytes]:
        for number, part in enumerate(parts):
            left_out, found = part.header_bytes if number else 0, hashlib.sha256()
            async for piece in files.read(part.name):
                found.update(piece)
                body, left_out = piece[left_out:], max(0, left_out - len(piece))
                digest.update(body)
                yield body
            if found.hexdigest() != part.sha256:
                raise ResultsError(f"{files.url(part.name)} is not what was written there: {WAY_OUT}")

    await files.write(name, pieces(), size)
    rows = sum(part.rows for part in parts)
    return Part(name, rows, size, digest.hexdigest(), empty_columns=empty_columns(parts))


def _size(parts: list[Part]) -> int:
    """Bytes of the one file."""
    return sum(part.bytes for part in parts) - sum(part.header_bytes for part in parts[1:])
