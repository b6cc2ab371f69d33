"""One file of all parts: killed at any step and begun again, it ends with the same file and nothing else."""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterable
from typing import Any

import msgspec
import pytest
from backports import zstd

from batchjob.api.blocks.export import Column, Export
from batchjob.errors import ResultsError
from batchjob.worker.joining import write_joined
from batchjob.worker.manifest import MANIFEST, Part, build_manifest, describe
from batchjob.worker.processor import Sealed
from batchjob_processors.encoders import Row, build_encoder, encode, header_bytes
from tests.unit.test_parts import RUN, Memory

COLUMNS = [Column(name="id"), Column(name="note")]
ROWS: list[list[Row]] = [[["a", "two\nlines"], ["b", None]], [["c", '"']], [["d", "=1"], ["e", "ü"]]]
PLAIN = b'id,note\r\na,"two\nlines"\r\nb,\r\nc,""""\r\nd,\'=1\r\ne,\xc3\xbc\r\n'


class Mortal(Memory):
    """A destination at which a worker dies before its step number `deadly`, from 0."""

    deadly = -1
    room = 10_000  # bytes

    async def put(self, name: str, body: bytes) -> None:
        self._step()
        await super().put(name, body)

    async def write(self, name: str, pieces: AsyncIterable[bytes], size: int = 0) -> None:
        await super().write(name, pieces, size)
        assert sum(map(len, self.kept.values())) <= self.room - len(b"id,no"), "it is full"

    async def delete(self, name: str) -> None:
        self._step()
        await super().delete(name)

    def _step(self) -> None:
        self.deadly -= 1
        if self.deadly == -1:
            raise SystemExit


async def filled(block: Export) -> tuple[Mortal, list[Part]]:
    files, parts = Mortal(), []
    for number, rows in enumerate(ROWS):
        body = encode(build_encoder(block, COLUMNS), rows)
        found = describe(f"part-{number:012d}-x", len(rows), body)
        parts.append(msgspec.structs.replace(found, header_bytes=header_bytes(block, COLUMNS)))
        files.kept[found.name] = body
    return files, parts


def block(**fields: Any) -> Export:
    return Export.model_validate({"destination": {"url": "s3://b/x"}, "singleFile": True, **fields})


def check(files: Memory, sealed: Sealed) -> bytes:
    """The one file that is left beside the manifest, of which that says the truth."""
    assert sorted(files.kept) == ["all.csv", MANIFEST]
    body = files.kept["all.csv"]
    manifest = json.loads(files.kept[MANIFEST])
    sha256 = hashlib.sha256(body).hexdigest()
    assert manifest["parts"] == [{"name": "all.csv", "rows": 5, "bytes": len(body), "sha256": sha256}]
    assert (manifest["rows"], manifest["bytes"]) == (5, len(body))
    assert sealed.manifest_sha256 == hashlib.sha256(files.kept[MANIFEST]).hexdigest()
    return body


@pytest.mark.parametrize(
    ("fields", "unpack"),
    [({}, bytes), ({"compression": "gzip"}, gzip.decompress), ({"compression": "zstd"}, zstd.decompress)],
)
async def test_parts_become_one_file_under_one_header(fields: dict[str, Any], unpack: Any) -> None:
    files, parts = await filled(block(**fields))
    assert unpack(check(files, await write_joined(files, RUN, parts, "all.csv"))) == PLAIN


async def test_one_file_has_one_byte_order_mark() -> None:
    files, parts = await filled(block(bom=True))
    assert check(files, await write_joined(files, RUN, parts, "all.csv")) == b"\xef\xbb\xbf" + PLAIN


async def test_json_lines_are_joined_as_they_are() -> None:
    files, parts = await filled(block(format="jsonl", compression="zstd"))
    lines = zstd.decompress(check(files, await write_joined(files, RUN, parts, "all.csv"))).splitlines()
    assert [json.loads(line)["id"] for line in lines] == list("abcde")


@pytest.mark.parametrize("step", range(6))
async def test_a_worker_that_dies_at_any_step_leaves_what_another_one_finishes_alike(step: int) -> None:
    clean, parts = await filled(block())
    whole = await write_joined(clean, RUN, parts, "all.csv")
    files, parts = await filled(block())
    files.kept["part-000000000001-stray"] = b"of a worker that was lost"
    files.deadly = step
    with pytest.raises(SystemExit):
        await write_joined(files, RUN, parts, "all.csv")
    assert MANIFEST in files.kept or all(part.name in files.kept for part in parts)
    assert await write_joined(files, RUN, parts, "all.csv") == whole
    assert files.kept == clean.kept
    assert await write_joined(files, RUN, parts, "all.csv") == whole
    assert files.kept == clean.kept


async def test_what_a_killed_worker_had_half_written_is_removed() -> None:
    files, parts = await filled(block())
    files.kept["all.csv.0123.unfinished"] = b"id,no"
    files.room = sum(map(len, files.kept.values())) + len(PLAIN)
    check(files, await write_joined(files, RUN, parts, "all.csv"))


async def test_a_part_that_somebody_removed_is_named_and_nothing_is_written() -> None:
    files, parts = await filled(block())
    del files.kept[parts[1].name]
    with pytest.raises(ResultsError, match=f"{parts[1].name} is not there any more: .* create the BatchJob anew"):
        await write_joined(files, RUN, parts, "all.csv")
    assert sorted(files.kept) == [parts[0].name, parts[2].name]


@pytest.mark.parametrize("gone", ["the file", "the manifest is another's", "the manifest is of other parts"])
async def test_parts_that_are_gone_were_joined_only_where_file_and_manifest_say_so(gone: str) -> None:
    files, parts = await filled(block())
    await write_joined(files, RUN, parts, "all.csv")
    if gone == "the file":
        del files.kept["all.csv"]
    elif gone == "the manifest is another's":
        files.kept[MANIFEST] = files.kept[MANIFEST].replace(RUN.uid.encode(), b"another")
    else:
        files.kept[MANIFEST] = build_manifest(RUN, parts)
    with pytest.raises(ResultsError, match=f"{parts[0].name} is not there any more: .* create the BatchJob anew"):
        await write_joined(files, RUN, parts, "all.csv")


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b'{"rows": "many"}', b'{"uid": "\xff"}'], ids=str)
async def test_a_manifest_that_somebody_overwrote_is_named(body: bytes) -> None:
    files, parts = await filled(block())
    await write_joined(files, RUN, parts, "all.csv")
    files.kept[MANIFEST] = body
    with pytest.raises(ResultsError, match=f"{MANIFEST} is no manifest any more: .* create the BatchJob anew"):
        await write_joined(files, RUN, parts, "all.csv")


@pytest.mark.parametrize("ends", [b"", b"?"], ids=["cut off", "changed"])
async def test_a_part_that_is_another_by_now_is_named_and_nothing_is_written(ends: bytes) -> None:
    files, parts = await filled(block())
    files.kept[parts[1].name] = files.kept[parts[1].name][:-1] + ends
    with pytest.raises(ResultsError, match=f"{parts[1].name} is not what was written there"):
        await write_joined(files, RUN, parts, "all.csv")
    assert "all.csv" not in files.kept


async def test_a_run_without_rows_has_no_file() -> None:
    files = Mortal()
    await write_joined(files, RUN, [], "all.csv")
    assert list(files.kept) == [MANIFEST]


def test_the_header_of_a_packed_part_can_be_cut_off() -> None:
    one = block(compression="gzip")
    body = encode(build_encoder(one, COLUMNS), ROWS[0])
    rest = gzip.decompress(body[header_bytes(one, COLUMNS) :])
    assert list(csv.reader(io.StringIO(rest.decode(), newline=""))) == [["a", "two\nlines"], ["b", ""]]
