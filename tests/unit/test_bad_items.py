"""Records that are wrong: left out and counted where the spec says so, and only where the next one can be found."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.source import OnBadItem, SourceFormat
from batchjob.errors import InvalidSource
from batchjob.worker.sources.formats import PARSERS
from batchjob.worker.sources.limits import ARRAY_BYTES, DEPTH, RECORD_BYTES
from batchjob.worker.sources.records import BadItems

LONG = b"x" * (RECORD_BYTES + 1)
DEEP = b"[" * DEPTH + b"]" * DEPTH


def skip(form: str, *blocks: bytes) -> tuple[list[str], BadItems]:
    """Ids of what is left, and what was left out."""
    bad = BadItems(OnBadItem.SKIP)
    parser = PARSERS[SourceFormat(form)]("id", bad)
    records = [record for block in blocks for record in parser.feed(block)]
    return [record.id for record in [*records, *parser.finish()]], bad


@pytest.mark.parametrize(
    ("form", "body", "ids", "said"),
    [
        ("jsonl", b'{"id":"a"}\n{"id"\n{"id":"b"}', "ab", "line 2: not JSON"),
        ("jsonl", b'{"id":"a"}\n[]\n{"id":"b"}', "ab", "line 2: not a JSON object but an array"),
        ("jsonl", b'{"id":"a"}\n{}\n{"id":"b"}', "ab", "line 2: the field 'id'"),
        ("jsonl", b'{"id":"a"}\n{"id":"a"}\n{"id":"b"}', "ab", "line 2: id 'a' is already used by line 1"),
        ("jsonl", b'{"id":"a"}\n{"id":"\xff"}\n{"id":"b"}', "ab", "line 2: not UTF-8"),
        ("jsonl", b'{"id":"a"}\n' + LONG + b'\n{"id":"b"}', "ab", "line 2: longer than"),
        ("jsonl", b'{"id":"a"}\n{"id":"b"}\n' + LONG, "ab", "line 3: longer than"),
        ("jsonl", b'{"id":"a"}\n{"id":"c","x":' + DEEP + b'}\n{"id":"b"}', "ab", "line 2: nested deeper than 200"),
        ("items", b'{"id":"a","data":{}}\n{"id":"c"}\n{"id":"b","data":{}}', "ab", "line 2: has to be"),
        ("items", b'{"id":"a","data":{}}\n{"id":"c","data":{},"x":1}\n{"id":"b","data":{}}', "ab", "line 2: has to be"),
        ("items", b'{"id":"a","data":{}}\n{"data":{}}\n{"id":"b","data":{}}', "ab", "line 2: the field 'id'"),
        (
            "items",
            b'{"id":"a","data":{}}\n{"id":"a","data":{}}\n{"id":"b","data":{}}',
            "ab",
            "line 2: id 'a' is already",
        ),
        ("csv", b"id,n\na,1\nc\nb,2\n", "ab", "line 3: 1 fields, where the header has 2"),
        ("csv", b"id,n\na,1\nc,1,2\nb,2\n", "ab", "line 3: 3 fields, where the header has 2"),
        ("csv", b"id,n\na,1\n,2\nb,2\n", "ab", "line 3: the field 'id'"),
        ("csv", b'id,n\na,1\nc,"\xff\n"\nb,2\n', "ab", "line 3: not UTF-8"),
        ("csv", b'id,n\na,1\nc,"x"y"z"\nb,2\n', "ab", "line 3: not CSV"),
        ("csv", b"id,n\na,1\nc,\0\nb,2\n", "ab", "line 3: holds a NUL byte"),
        ("json", b'[{"id":"a"},3,{"id":"b"}]', "ab", "record 2: not a JSON object but a number"),
        ("json", b'[{"id":"a"},{"id":"a"},{"id":"b"}]', "ab", "record 2: id 'a' is already used by record 1"),
        ("json", b'[{"id":"a"},{"id":"' + LONG + b'"},{"id":"b"}]', "ab", "record 2: longer than"),
    ],
)
def test_a_bad_record_is_left_out_and_the_rest_is_read(form: str, body: bytes, ids: str, said: str) -> None:
    found, bad = skip(form, body)
    assert (found, bad.count) == (list(ids), 1)
    assert bad.messages[0].startswith(said)
    halves = body[: len(body) // 2], body[len(body) // 2 :]
    again, same = skip(form, *halves)
    assert (again, same.messages) == (found, bad.messages)


@pytest.mark.parametrize(
    ("form", "body", "said"),
    [
        ("csv", b'id,n\na,1\nb,"open\nc,3\n', "line 3: a quote is opened and not closed"),
        ("csv", b'id,n\na,5" pipe\nb,2\nc,3" pipe\nd,4\n', "line 2: a quote is opened and not closed"),
        ("csv", b"id,n\na," + LONG + b"\nb,2\n", "line 2: longer than"),
        ("csv", b"name,n\na,1\n", "line 1: the header has no column"),
        ("csv", b"i\xff,n\na,1\n", "line 1: not UTF-8"),
        ("json", b'[{"id":"a"},', "the file: not JSON"),
        ("json", b'{"id":"a"}', "the file is not a JSON array"),
        ("json", b" " * (ARRAY_BYTES + 1), "a JSON array may have 64 MiB"),
    ],
)
def test_what_is_wrong_with_the_whole_file_ends_it_all_the_same(form: str, body: bytes, said: str) -> None:
    with pytest.raises(InvalidSource, match=f"^{said}"):
        skip(form, body)


def test_ten_faults_are_told_and_all_are_counted() -> None:
    found, bad = skip("jsonl", b'{"id":"a"}\n' + b"nonsense\n" * 5000)
    assert (found, bad.count, len(bad.messages)) == (["a"], 5000, 10)
    assert bad.messages[9].startswith("line 11: not JSON")
    assert all(len(message) <= 200 for message in bad.messages)


def test_a_file_of_nothing_but_bad_records_is_an_error() -> None:
    _, bad = skip("jsonl", b"<html>\n</html>\n")
    with pytest.raises(
        InvalidSource, match=r"^none of its records can be used \(bad: 2\); the first: line 1: not JSON"
    ):
        bad.check(0)
    bad.check(1)
    BadItems(OnBadItem.SKIP).check(0)


@given(st.lists(st.booleans(), max_size=30), st.lists(st.integers(0, 2000), max_size=5))
def test_good_and_bad_records_add_up_however_the_file_is_cut(kinds: list[bool], places: list[int]) -> None:
    lines: list[Any] = [json.dumps({"id": f"i{n}"}) if good else '{"id":' for n, good in enumerate(kinds)]
    body = "\n".join(lines).encode()
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    found, bad = skip("jsonl", *(body[first:last] for first, last in pairwise(edges)))
    assert found == [f"i{n}" for n, good in enumerate(kinds) if good]
    assert bad.count == kinds.count(False)
