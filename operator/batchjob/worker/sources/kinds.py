"""What a file is by its first bytes: what can never be a file of records, and for a hint what it looks like. Pure."""

from typing import Final

from batchjob.api.source import SourceFormat
from batchjob.errors import InvalidSource
from batchjob.worker.sources.formats import BYTE_ORDER_MARK

HEAD_BYTES: Final = 4096  # looked at
_PACKED: Final = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


def check_kind(head: bytes) -> None:
    """InvalidSource where a file that begins so cannot be read, whatever its format."""
    for mark, name in _PACKED.items():
        if head.startswith(mark):
            raise InvalidSource(f"it is compressed ({name}), and nothing is unpacked here: unpack it first")
    if head.startswith(_UTF_16) or b"\0" in head[:2]:
        raise InvalidSource("it is written in UTF-16: write it in UTF-8")


def looks_like(head: bytes) -> SourceFormat | None:
    """The format that the beginning of a file suggests; for hints alone, since a guess must decide nothing."""
    text = _text(head)
    if text.startswith(b"["):
        return SourceFormat.JSON
    if text.startswith(b"{"):
        return SourceFormat.JSONL
    first, _, _ = text.partition(b"\n")
    if text.startswith(b"<"):
        return None
    return SourceFormat.CSV if any(sign in first for sign in (b",", b";", b"\t")) else None


def is_page(head: bytes) -> bool:
    """Whether it looks like a web page."""
    return _text(head).startswith(b"<")


def _text(head: bytes) -> bytes:
    return head.removeprefix(BYTE_ORDER_MARK).lstrip()
