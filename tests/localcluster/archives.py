"""Several docker archives as one stream, in which a layer that images share occurs once.

All images here stand on one base and most on one Python; a node that took them in one by one would read, hash and
unpack these layers over and over: for five images nearly three times the data.
"""

import json
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

MANIFEST: Final = "manifest.json"  # lists the images of an archive, each with its config and its layers
LEGACY: Final = "repositories"  # of an older format; nobody reads it


def write_merged(archives: Sequence[Path], output: IO[bytes]) -> None:
    """Write one archive with the images of all; files are named by their content, so equal names are equal."""
    written = {MANIFEST, LEGACY}
    images: list[Any] = []
    with tarfile.open(fileobj=output, mode="w|") as merged:
        for archive in archives:
            with tarfile.open(archive) as one:
                images += json.loads(_read(one, MANIFEST))
                for member in one:
                    if member.isreg() and member.name not in written:
                        written.add(member.name)
                        merged.addfile(member, one.extractfile(member))
        manifest = json.dumps(images).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(manifest)
        merged.addfile(entry, BytesIO(manifest))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise tarfile.ReadError(f"{archive.name!r} holds no {name}")
    return file.read()
