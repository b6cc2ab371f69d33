"""Files of records: what is read does not depend on how the bytes come, and complaints name the line."""

import csv
import io
import json
import re
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.source import OnBadItem, SourceFormat
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.worker.sources.file import FileSource, PathReader
from batchjob.worker.sources.formats import PARSERS
from batchjob.worker.sources.limits import RECORD_BYTES
from batchjob.worker.sources.records import BadItems, Ids


def read(form: str, *blocks: bytes, id_field: str = "id") -> list[tuple[str, dict[str, Any]]]:
    parser = PARSERS[SourceFormat(form)](id_field, BadItems(OnBadItem.FAIL))
    records = [record for block in blocks for record in parser.feed(block)]
    return [(record.id, record.data) for record in [*records, *parser.finish()]]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[first:last] for first, last in pairwise(edges)]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
tables = st.lists(st.tuples(texts, texts), max_size=8)
cuts = st.lists(st.integers(0, 10_000), max_size=6)


@given(tables, cuts, st.booleans())
def test_json_lines_are_read_the_same_however_they_are_cut(
    rows: list[tuple[str, str]], places: list[int], mark: bool
) -> None:
    records = [{"id": str(n), "a": a, "b": [b]} for n, (a, b) in enumerate(rows)]
    body = "\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode()
    body = b"\xef\xbb\xbf" * mark + body
    assert read("jsonl", *cut(body, places)) == [(record["id"], record) for record in records]


@given(tables, cuts)
def test_lines_of_items_keep_whatever_stands_in_their_data(rows: list[tuple[str, str]], places: list[int]) -> None:
    items = [{"id": f"i{n}", "data": {"id": a, "b": [b]}} for n, (a, b) in enumerate(rows)]
    body = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items).encode()
    assert read("items", *cut(b"\n" + body, places)) == [(item["id"], item["data"]) for item in items]


@given(tables, cuts, st.booleans())
def test_csv_is_read_as_the_standard_library_wrote_it_however_it_is_cut(
    rows: list[tuple[str, str]], places: list[int], mark: bool
) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    records = [{"id": f"r{n}", "a": a, 'b"c': b} for n, (a, b) in enumerate(rows)]
    writer.writerow(["id", "a", 'b"c'])
    writer.writerows(record.values() for record in records)
    body = b"\xef\xbb\xbf" * mark + file.getvalue().encode()
    assert read("csv", *cut(body, places)) == [(record["id"], record) for record in records]


def test_a_json_array_is_read_whole() -> None:
    body = b'[{"id": 1, "n": 12345678901234567890123}, {"id": "b"}]'
    assert read("json", body[:9], body[9:]) == [
        ("1", {"id": 1, "n": 12345678901234567890123}),
        ("b", {"id": "b"}),
    ]


@pytest.mark.parametrize(
    ("form", "body", "message"),
    [
        ("jsonl", b'{"id":"a"}\n\n{"id":"b"\n', "line 3: not JSON"),
        ("jsonl", b'{"id":"a"}\n[1]\n', "line 2: not a JSON object but an array"),
        ("jsonl", b'{"id":"a"}\n{"id":"b"}\n{"id":"a"}', "line 3: id 'a' is already used by line 1"),
        ("jsonl", b'{"name":"a"}', "line 1: the field 'id', which names the item (spec.source.idField), is missing"),
        ("jsonl", b'{"id":null}', "line 1: the field 'id', which names the item (spec.source.idField), must be a text"),
        ("jsonl", b'{"id":true}', "line 1: the field 'id', which names the item (spec.source.idField), must be"),
        ("jsonl", b'{"id":"' + b"x" * 129 + b'"}', "line 1: the id has 129 characters; at most 128"),
        ("jsonl", b'{"id":"a"}\n\xff\n', "line 2: not UTF-8"),
        ("jsonl", b'{"id":"a"}\n' + b"x" * (RECORD_BYTES + 1), "line 2: longer than"),
        ("jsonl", rb'{"id":"a","t":"\\\ud83d\ude00\ud800"}', r"line 1: holds \ud800, half of a surrogate pair"),
        ("jsonl", rb'{"id":"a","t":"\uDC00 x"}', r"line 1: holds \uDC00, half of a surrogate pair"),
        ("jsonl", rb'{"id":"a","t":"\\ud800', "line 1: not JSON: Input data was truncated"),
        ("json", rb'[{"id":"a","t":"\ud800"}]', r"the file: holds \ud800, half of a surrogate pair"),
        ("jsonl", b"[" * 100_000, "line 1: nested deeper than 200 levels"),
        ("csv", b"id,a\n1,2\n3\n", "line 3: 1 fields, where the header has 2"),
        ("csv", b'id,a\n1,"two\nlines"\n1,b\n', "line 4: id '1' is already used by line 2"),
        ("csv", b'id,a\n1,"open\n', "line 2: a quote is opened and not closed"),
        ("csv", b"id,a,a\n", "line 1: the header names the column 'a' twice"),
        ("csv", b'id,a\n1,"b"c""\n', "line 2: not CSV"),
        ("csv", b"name\nx\n", "line 1: the header has no column 'id', which names the item (spec.source.idField)"),
        ("csv", b"id;name\nx;y\n", "columns seem to be separated by ';': write the file with commas"),
        ("csv", b"id\tname\nx\ty\n", "columns seem to be separated by '\\t': write the file with commas"),
        ("json", b'{"id":"a"}', "not a JSON array of objects"),
        ("json", b'[{"id":"a"}, 3]', "record 2: not a JSON object but a number"),
        ("json", b'[{"id":"a"}, {"id":"a"}]', "record 2: id 'a' is already used by record 1"),
        ("json", b'[{"id":', "the file: not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(form: str, body: bytes, message: str) -> None:
    with pytest.raises(InvalidSource, match=re.escape(message)):
        read(form, body)


@pytest.mark.parametrize(
    ("form", "body", "looks"),
    [
        ("jsonl", b"id,text\na,one\n", "csv"),
        ("jsonl", b'[\n  {"id": "a"}\n]\n', "json"),
        ("json", b'{"id": "a"}\n{"id": "b"}\n', "jsonl"),
        ("json", b"id;text\na;one\n", "csv"),
        ("csv", b'\xef\xbb\xbf{"id": "a"}\n{"id": "b"}\n', "jsonl"),
        ("csv", b'[{"id": "a"}]', "json"),
        ("csv", b"id;text\na;one\n", None),
        ("jsonl", b'{"id": "a"}\n{"id"\n', None),
        ("jsonl", b"a b c\n", None),
    ],
)
async def test_a_file_of_another_format_says_which_field_to_check(
    form: str, body: bytes, looks: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "items"
    path.write_bytes(body)
    source = FileSource(PathReader(path, "the file"), SourceFormat(form), "id", "spec.source.uri")
    with pytest.raises(InvalidSource) as refused:
        _ = [records async for records in source.records()]
    hint = f" (it looks like {looks}: check spec.source.uri.format)"
    assert str(refused.value).endswith(hint) if looks else "looks like" not in str(refused.value)


async def test_a_file_that_changes_while_it_is_read_is_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "items"
    path.write_bytes(b'{"id":"a"}\n')
    source = FileSource(PathReader(path, "the file"), SourceFormat.JSONL, "id", "spec.source.uri")
    records = source.records()
    assert [record.id for record in await anext(records)] == ["a"]
    path.write_bytes(b'{"id":"b"}\n{"id":"c"}\n')
    with pytest.raises(SourceUnreachable, match=r"^spec.source.uri: the file changed while it was read$"):
        _ = [record async for record in records]


def test_another_field_may_name_the_items_and_stays_in_the_data() -> None:
    assert read("csv", b"sku,name\nA-1,nut\n", id_field="sku") == [("A-1", {"sku": "A-1", "name": "nut"})]


def test_a_wide_header_is_read_in_a_moment() -> None:
    began = time.process_time()
    assert read("csv", ",".join(["id", *(f"column-{n}" for n in range(40_000))]).encode()) == []
    assert time.process_time() - began < 1, "each name was compared with each other"


def test_an_empty_file_has_no_records() -> None:
    assert [read(form, b"") for form in ("jsonl", "csv")] == [[], []]
    assert read("json", b"[]") == []


@given(st.lists(st.text(max_size=3), unique=True, max_size=3000), st.randoms(use_true_random=False))
def test_ids_are_found_again_and_no_others(names: list[str], random: Any) -> None:
    ids = Ids("line")
    for line, name in enumerate(names, start=1):
        ids.add(name, line)
    if names:
        line = random.randrange(len(names))
        with pytest.raises(InvalidSource, match=f"already used by line {line + 1}$"):
            ids.add(names[line], 99_999)


def test_many_ids_take_little_memory() -> None:
    ids = Ids("line")
    for n in range(100_000):
        ids.add(f"id-{n}", n)
    assert sum(map(sys.getsizeof, ids._buckets)) < 100_000 * 45
