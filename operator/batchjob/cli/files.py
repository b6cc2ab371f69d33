"""Manifests that people write: YAML or JSON documents in files, or on standard input."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from batchjob.api.base import API_VERSION
from batchjob.api.kinds import KINDS
from batchjob.cli.exits import Refused
from batchjob.local.documents import read_documents

STDIN: Final = Path("-")
OURS: Final = {kind.kind: kind for kind in KINDS}


class Document(NamedTuple):
    """A document, and the file it is in."""

    file: Path
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.body.get("kind", ""))

    @property
    def name(self) -> str:
        """What to call it."""
        metadata = self.body.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        return str(metadata.get("name") or metadata.get("generateName") or "without a name")

    @property
    def is_ours(self) -> bool:
        """Whether it is of a kind of BatchJob's."""
        return self.kind in OURS and str(self.body.get("apiVersion", "")).partition("/")[0] == _GROUP


_GROUP: Final = API_VERSION.partition("/")[0]


def read(files: Sequence[Path]) -> list[Document]:
    """All documents; ConfigurationError says where a file is wrong."""
    return [document for file in files for document in _read(file)]


def _read(file: Path) -> Iterator[Document]:
    if file == STDIN:
        try:
            text = sys.stdin.read()
        except ValueError:
            raise Refused("standard input is not YAML: it is no UTF-8") from None
    elif file.is_dir():
        raise Refused(f"{file} is a folder: name its files")
    else:
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            raise Refused(f"{file} cannot be read: {error.strerror}") from None
        except ValueError:
            raise Refused(f"{file} is not YAML: it is no UTF-8") from None
    for body in read_documents(text, file):
        yield Document(file, body)
