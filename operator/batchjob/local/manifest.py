"""Manifests as people write them: YAML documents in files, of which one is a BatchJob.

What the BatchJob refers to stands beside it, as ConfigMaps and Secrets. Documents of other kinds are left alone: the
same file may be applied to a cluster.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from batchjob.api.base import API_VERSION
from batchjob.api.schedule import SCHEDULE_KIND
from batchjob.api.v1alpha1 import KIND, BatchJob
from batchjob.core.documents import encode
from batchjob.errors import ConfigurationError
from batchjob.local.documents import read_documents
from batchjob.local.rules import faults

_KEY: Final = re.compile(r"(?!\.\.)[-._a-zA-Z0-9]{1,253}")  # as the API server takes it
SHOWN: Final = 20  # mistakes: who wrote a field wrong in a thousand items sees which one
# Where a URL may be a path of this machine.
_PLACES: Final = (
    *(("source", "uri"), ("results", "destination"), ("export", "destination")),
    ("email", "files"),
    ("report", "deliver", "destination"),
)


@dataclass(frozen=True)
class Manifest:
    """A BatchJob, and the files in the ConfigMaps and Secrets beside it: (kind, name) → key → content."""

    job: BatchJob
    objects: dict[tuple[str, str], dict[str, bytes]]


def read_manifest(paths: Sequence[Path]) -> Manifest:
    """The documents of all files; ConfigurationError says what is wrong, one line each."""
    documents = [(path, document) for path in paths for document in _documents(path)]
    jobs = [(path, document) for path, document in documents if document.get("kind") == KIND]
    where = ", ".join(map(str, paths))
    if len(jobs) != 1:
        names = ", ".join(_name(job) for _, job in jobs) or "none"
        way_out = "keep one of them" if jobs else f"add a document with kind: {KIND}"
        if not jobs and any(document.get("kind") == SCHEDULE_KIND for _, document in documents):
            way_out = f"a {SCHEDULE_KIND} is not run; write the spec of its jobTemplate as a {KIND} to run it now"
        raise ConfigurationError(f"{where}: one BatchJob is run, and there are {len(jobs)} ({names}): {way_out}")
    [(path, job)] = jobs
    return Manifest(
        _parse(job, path),
        {
            (document["kind"], _name(document)): _files(document, path)
            for path, document in documents
            if document.get("kind") in ("ConfigMap", "Secret")  # it may be a map, which no set can be asked for
        },
    )


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else "without a name"


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from None
    yield from read_documents(text, path)


def _parse(document: dict[str, Any], path: Path) -> BatchJob:
    if document.get("apiVersion") != API_VERSION:
        raise ConfigurationError(f"{path}: apiVersion: write {API_VERSION} (it is {document.get('apiVersion')})")
    _resolve_paths(document, path.parent)
    if wrong := faults(document, KIND):
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise ConfigurationError("\n  ".join([f"{path} cannot be run:", *wrong[:SHOWN], *more]))
    return BatchJob.model_validate_json(encode(document))


def _resolve_paths(document: dict[str, Any], folder: Path) -> None:
    """A url without a scheme is a path beside the manifest."""
    for steps in _PLACES:
        place: Any = document.get("spec")
        for step in steps:
            place = place.get(step) if isinstance(place, dict) else None
        url = place.get("url") if isinstance(place, dict) else None
        if not isinstance(url, str) or not url:
            continue
        if ":" not in url.partition("/")[0]:
            place["url"] = (folder.absolute() / url).as_uri()
        elif url.startswith("file:") and not url.startswith("file:///"):
            path = url.removeprefix("file:").lstrip("/")
            raise ConfigurationError(
                f"spec.{'.'.join(steps)}.url: {url} names no file: write file:///absolute/path, or {path} for a path "
                "beside the manifest"
            )


def local_path(url: str) -> Path | None:
    """The path that a URL names on this machine."""
    return Path(unquote(url.removeprefix("file://"))) if url.startswith("file:///") else None


def _files(document: dict[str, Any], path: Path) -> dict[str, bytes]:
    """What a ConfigMap or a Secret holds."""
    encoded = ("data",) if document["kind"] == "Secret" else ("binaryData",)
    plain = ("stringData",) if document["kind"] == "Secret" else ("data",)
    found: dict[str, bytes] = {}
    for field in (*encoded, *plain):  # stringData wins, as with the API server
        entries = document.get(field) or {}
        if not isinstance(entries, dict):
            raise ConfigurationError(f"{path}: {document['kind']} {_name(document)}: {field}: must be a map of keys")
        for key, value in entries.items():
            where = f"{path}: {document['kind']} {_name(document)}: {field}.{key}"
            if not _KEY.fullmatch(str(key)):  # it becomes a file's name
                raise ConfigurationError(f"{where}: is no key: letters, digits, -, _ and . alone")
            if not isinstance(value, str):
                raise ConfigurationError(f"{where}: must be a text: put it in quotes (it is {value!r:.60})")
            try:
                found[str(key)] = (
                    base64.b64decode("".join(value.split()), validate=True) if field in encoded else value.encode()
                )
            except binascii.Error:
                raise ConfigurationError(f"{where}: is not base64: stringData takes it as it is") from None
    return found
