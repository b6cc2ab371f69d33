"""Rows as files: what is written comes back as it was."""

import csv
import gzip
import io
import json
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.blocks.export import Column, Export
from batchjob_processors.encoders import build_encoder, encode, ending
from batchjob_processors.tables import FORMULA_STARTS, cell, escaped

COLUMNS = [Column(name="id"), Column(name="address.city", header="City")]
ROWS: list[list[Any]] = [["a", "Köln"], ["b", None]]
HOSTILE = [
    *("=cmd|'/C calc'!A0", "@SUM(A1:A9)", "-1+1", "\t=1", "\r=1", '=HYPERLINK("http://x")'),
    *("a\nb", "a\r\nb", "\n", "\r", '"', '""', ',",', "a;b", "'", " padded ", ""),
    *(
        "nul\0byte",
        "\0",
        "👩‍👩‍👧 e\u0301",
        "\u202eright to left\u202c",
        "עברית العربية",
        "\ufeffmark",
        "\u2028\u0085\x1c",
    ),
    "x" * 2**20,
    '"\n' * 2**19,
]


def block(form: str, **fields: Any) -> Export:
    return Export.model_validate({"format": form, "destination": {"url": "s3://b/x"}, **fields})


def file(form: str, rows: list[list[Any]], columns: list[Column] = COLUMNS, **fields: Any) -> bytes:
    return encode(build_encoder(block(form, **fields), columns), rows)


def read_csv(body: bytes) -> list[list[str]]:
    before = csv.field_size_limit(2**24)  # the process' own: other tests are about it
    try:
        return list(csv.reader(io.StringIO(body.decode("utf-8"), newline="")))
    finally:
        csv.field_size_limit(before)


def test_a_file_has_the_headers_of_its_columns() -> None:
    assert file("csv", ROWS).decode() == "id,City\r\na,Köln\r\nb,\r\n"
    lines = file("jsonl", ROWS).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "a", "City": "Köln"}, {"id": "b", "City": None}]


def test_a_byte_order_mark_comes_first_and_once() -> None:
    encoder = build_encoder(block("csv", bom=True), COLUMNS)
    body = encoder.begin() + encoder.add(ROWS) + encoder.add(ROWS) + b"".join(encoder.end())
    assert body.decode("utf-8-sig") == "id,City\r\na,Köln\r\nb,\r\na,Köln\r\nb,\r\n"
    assert body.startswith(b"\xef\xbb\xbfid")


def test_an_export_for_programs_leaves_every_text_as_it_is() -> None:
    columns = [Column(name="=a")]
    assert file("csv", [["=1+1"]], columns, escapeFormulas=False) == b"=a\r\n=1+1\r\n"
    assert file("csv", [["=1+1"]], columns) == b"'=a\r\n'=1+1\r\n"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize(("compression", "unpack"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
def test_a_packed_file_unpacks_to_the_plain_one_and_is_the_same_each_time(
    form: str, compression: str, unpack: Any
) -> None:
    packed = file(form, ROWS, compression=compression)
    assert unpack(packed) == file(form, ROWS)
    assert packed == file(form, ROWS, compression=compression), "a checksum tells whether the rows are the same"


def test_a_name_tells_the_format_and_how_a_file_is_packed() -> None:
    assert ending(block("csv")) == ".csv"
    assert ending(block("jsonl", compression="gzip")) == ".jsonl.gz"
    assert ending(block("csv", compression="zstd")) == ".csv.zst"


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_hostile_cell_comes_back_as_it_was(text: str) -> None:
    columns = [Column(name="before"), Column(name="it"), Column(name="after")]
    row = ["1", text, "2"]
    assert read_csv(file("csv", [row, row], columns, escapeFormulas=False)) == [["before", "it", "after"], row, row]
    assert read_csv(file("csv", [row], columns))[1] == ["1", escaped(text), "2"]
    assert [json.loads(line)["it"] for line in file("jsonl", [row, row], columns).split(b"\n")[:-1]] == [text, text]


CELLS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.dates()),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(HOSTILE[:-2]),
    st.lists(st.text(st.sampled_from('",a'))),
)


def by_the_csv_module(rows: list[list[Any]], guard: Any) -> bytes:
    """What Python's own writer makes of the same cells."""
    written = io.StringIO(newline="")
    csv.writer(written).writerows([guard(cell(content)) for content in row] for row in rows)
    return written.getvalue().encode()


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1)))
def test_the_bytes_are_those_of_pythons_own_writer(rows: list[list[Any]]) -> None:
    columns = [Column(name=f"c{n}") for n in range(len(rows[0]))]
    for escape in (True, False):
        encoder = build_encoder(block("csv", escapeFormulas=escape), columns)
        assert encoder.add(rows) == by_the_csv_module(rows, escaped if escape else str)


def test_values_of_a_querys_kinds_are_as_pythons_own_writer_writes_them() -> None:
    kinds = ["integer", "number", "boolean", "date", "timestamp", "datetime", "decimal(12, 2)", "text"]
    texts: list[Any] = ["-5", "1e+20", True, "0044-03-15 BC", "infinity", "2026-02-28 10:00:00.25+02", "NaN", "=1"]
    rows = [texts, [None] * len(kinds), ["0", "-0", False, "", "", "", "-0.10", 'a "b",']]
    encoder = build_encoder(block("csv"), [Column(name=kind) for kind in kinds], kinds)
    assert encoder.add(rows) == by_the_csv_module(rows, escaped)


def test_no_rows_are_no_bytes() -> None:
    assert build_encoder(block("csv"), COLUMNS).add([]) == b""


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_text_comes_back_from_csv_unchanged_but_for_the_guard_against_formulas(texts: list[str]) -> None:
    _, *rows = read_csv(file("csv", [[text] for text in texts], [Column(name="t")]))
    read = [row[0] if row else "" for row in rows]
    assert read == [escaped(text) for text in texts]
    for text in read:
        if text.startswith(FORMULA_STARTS):
            float(text)  # raises for what is no number
