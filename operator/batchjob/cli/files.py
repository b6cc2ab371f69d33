"""Files: manifests that people write, YAML or JSON, or on standard input; and what commands write for them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from batchjob.api.base import GROUP
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
        return self.kind in OURS and self._is_of_our_group

    @property
    def wrong_kind(self) -> str:
        """What is wrong with a kind that our group does not have; empty: it has it, or the group is another's."""
        if self.kind in OURS or not self._is_of_our_group:
            return ""
        near = get_close_matches(self.kind, OURS, n=1)
        hint = f"did you mean {near[0]}? There are" if near else "write one of"
        return f"kind: {GROUP} has no kind {self.kind!r}: {hint} {', '.join(OURS)}"

    @property
    def _is_of_our_group(self) -> bool:
        return str(self.body.get("apiVersion", "")).partition("/")[0] == GROUP


def read(files: Sequence[Path]) -> list[Document]:
    """All documents; ConfigurationError says where a file is wrong."""
    return [document for file in files for document in _read(file)]


def _read(file: Path) -> Iterator[Document]:
    if file == STDIN:
        try:
            text = sys.stdin.read()
        except ValueError:
            raise Refused("standard input is not YAML: it is no UTF-8") from None
        except OSError as error:
            raise Refused(f"standard input cannot be read: {error.strerror}") from None
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


@contextmanager
def writing(file: Path) -> Iterator[TextIO]:
    """A file that is there once it is whole: until then it has another name. Refused says why it cannot be written."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("w", encoding="utf-8") as text:
            yield text
        part.replace(file)
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):  # it is not there, or what stands above is why
            part.unlink()
