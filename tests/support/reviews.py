"""3,708 sentences of real product reviews, each with the mean sentiment that 20 people gave it.

They come from the source archive of the PyPI package vaderSentiment (MIT; Hutto & Gilbert, ICWSM 2014). The archive
is fetched when wanted, checked against its SHA-256, kept in a cache and never committed.
"""

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = "vaderSentiment==3.3.2"
ARCHIVE: Final = "vaderSentiment-3.3.2.tar.gz"
SHA256: Final = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER: Final = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FILE: Final = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"


class Review(NamedTuple):
    """A sentence and what people thought of it: mean rating from -4 (most negative) to 4 (most positive)."""

    id: str
    rating: float
    text: str


def reviews() -> list[Review]:
    """All 3,708 sentences, fetched at the first call."""
    with (
        tarfile.open(_archive()) as outer,
        tarfile.open(fileobj=io.BytesIO(_member(outer, INNER))) as inner,
    ):
        lines = _member(inner, FILE).decode("ascii").splitlines()
    return [Review(name, float(rating), text) for name, rating, text in (line.split("\t", 2) for line in lines)]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise FileNotFoundError(name)
    return member.read()


def _archive() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "batchjob" / "reviews"
    path = cache / ARCHIVE
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # pip, because it knows the registry this machine uses; uv has no download command
        python = REPOSITORY / ".venv-tools" / "bin" / "python"
        subprocess.run(
            [python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", cache, PACKAGE],
            check=True,
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        path.unlink()
        raise ValueError(f"{ARCHIVE} has SHA-256 {found}, not {SHA256}: fetched something else; try again")
    return path
