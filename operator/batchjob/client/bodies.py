"""The body that makes a BatchJob: JSON while it is short, else packed lines in a temporary file, sent as they are.

So items may be any number, from a generator too: they are read once, one by one, and a repetition sends the file again.
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final

Json = Mapping[str, Any]

SHORT_BYTES: Final = 524_288  # of items; the fields beside them may have as much
CHUNK_BYTES: Final = 65_536
FAST: Final = 1  # of gzip: a third of the text's size at a tenth of the time


@dataclass(frozen=True)
class Packed:
    """Lines of JSON under gzip: the fields, then an item each."""

    file: BinaryIO
    size: int

    def parts(self) -> Iterator[bytes]:
        """All of it, from the beginning."""
        self.file.seek(0)
        while part := self.file.read(CHUNK_BYTES):
            yield part

    async def parts_in_turn(self) -> AsyncIterator[bytes]:
        """The same, for asyncio: what a file just written gives waits for nobody."""
        for part in self.parts():
            yield part


@contextmanager
def build_body(kind: str, items: Iterable[Json | tuple[str, Json]] | None, fields: Json) -> Iterator[bytes | Packed]:
    """The body; fields that are None are left out. NaN is no JSON: ValueError."""
    head = _encode({"type": kind, **{name: value for name, value in fields.items() if value is not None}})
    if items is None:
        yield head
        return
    lines, left = list[bytes](), (_encode(_read_item(item)) for item in items)
    size = 0
    for line in left:
        lines.append(line)
        size += len(line)
        if size > SHORT_BYTES:
            break
    else:
        yield head[:-1] + b', "items": [' + b", ".join(lines) + b"]}"
        return
    with TemporaryFile() as file:
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=FAST) as packing:
            for some in ([head], lines, left):
                for line in some:
                    packing.write(line + b"\n")
        yield Packed(file, file.tell())


def _encode(document: Any) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


def _read_item(item: Any) -> Any:
    return {"id": item[0], "data": item[1]} if isinstance(item, tuple) else item
