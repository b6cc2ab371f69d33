"""Parquet and workbooks: what is written is typed, and another reader finds the same."""

import gc
import io
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl.utils.escape import unescape

from batchjob.api.blocks.export import Column, ColumnFormat, Export
from batchjob_processors import parquet
from batchjob_processors.encoders import build_encoder, encode
from batchjob_processors.parquet import ParquetEncoder
from batchjob_processors.schema import infer, propose, read_noted
from batchjob_processors.tables import CELL_CHARACTERS, check_cells
from batchjob_processors.workbook import SHEET_COLUMNS, WorkbookEncoder
from tests.unit.test_encoders import HOSTILE

FORMATS = ["text", "integer", "number", "boolean", "date", "datetime"]
COLUMNS = [Column.model_validate({"name": form, "format": form}) for form in FORMATS]
ROWS: list[list[Any]] = [
    ["=1+1", 2**53 + 1, 0.1, True, date(2026, 2, 28), datetime(2026, 2, 28, 9, 30, 15, tzinfo=UTC)],
    [None] * 6,
    ["http://x", -1, 2, False, date(1899, 1, 1), datetime(1800, 1, 1, tzinfo=UTC)],
]


def block(form: str, **fields: Any) -> Export:
    return Export.model_validate({"format": form, "destination": {"url": "s3://b/x"}, **fields})


def read_parquet(body: bytes) -> Any:
    return pq.ParquetFile(io.BytesIO(body))


def sheets(body: bytes) -> list[list[tuple[Any, ...]]]:
    book = openpyxl.load_workbook(io.BytesIO(body))
    return [list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets]


def test_parquet_has_a_type_for_each_format() -> None:
    found = read_parquet(encode(build_encoder(block("parquet"), COLUMNS), ROWS))
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us", tz="UTC")]
    assert found.schema_arrow.types == kinds
    assert [list(row.values()) for row in found.read().to_pylist()] == ROWS
    assert found.metadata.row_group(0).column(0).compression == "ZSTD"


def test_parquet_is_written_group_by_group_and_lets_go_of_what_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 100)
    encoder = ParquetEncoder(COLUMNS)
    pieces = [encoder.begin(), *(encoder.add(ROWS * 20) for _ in range(10)), *encoder.end()]
    assert sum(map(bool, pieces)) == 7, "the magic number, five groups, the footer"
    found = read_parquet(b"".join(pieces))
    groups = [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert (sum(groups), max(groups)) == (600, 100)
    assert [list(row.values()) for row in found.read().to_pylist()] == ROWS * 200


@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_the_same_rows_give_the_same_bytes(form: str) -> None:
    first, second = (encode(build_encoder(block(form), COLUMNS), ROWS) for _ in range(2))
    assert first == second


def test_a_file_of_no_rows_has_its_columns_all_the_same() -> None:
    assert read_parquet(encode(ParquetEncoder(COLUMNS), [])).schema_arrow.names == FORMATS
    assert sheets(encode(WorkbookEncoder(COLUMNS), [])) == [[tuple(FORMATS)]]


def test_a_workbook_has_numbers_dates_and_text_that_never_is_a_formula_or_a_link() -> None:
    body = encode(build_encoder(block("xlsx"), COLUMNS), ROWS)
    (header, first, empty, last) = sheets(body)[0]
    assert header == tuple(FORMATS)
    assert first == ("=1+1", str(2**53 + 1), 0.1, True, datetime(2026, 2, 28), datetime(2026, 2, 28, 9, 30, 15))  # noqa: DTZ001 - Excel has no zones
    assert empty == (None,) * 6
    assert last == ("http://x", -1, 2, False, "1899-01-01", "1800-01-01T00:00:00Z")
    sheet = openpyxl.load_workbook(io.BytesIO(body)).worksheets[0]
    assert (sheet["A2"].data_type, sheet["A4"].hyperlink) == ("s", None)
    assert (sheet["E2"].number_format, sheet["F2"].number_format) == ("yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss")


def test_the_last_moment_that_there_is_is_one_in_a_workbook_too() -> None:
    """Databases say `for ever` by it; rounded up it would be of no year that a spreadsheet knows."""
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    (_, row) = sheets(encode(WorkbookEncoder([Column(name="t")]), [[last]]))[0]
    assert row == (datetime(9999, 12, 31, 23, 59, 59, 999000),)  # noqa: DTZ001 - Excel has no zones


def test_a_number_of_more_digits_than_excel_has_stays_itself_as_text() -> None:
    (_, *rows) = sheets(encode(WorkbookEncoder([Column(name="n")]), [[10**15 - 1], [10**15], [-(2**63)]]))[0]
    assert rows == [(10**15 - 1,), (str(10**15),), (str(-(2**63)),)]


@pytest.mark.parametrize("fraction", [0.1 + 0.2, 1 / 3, 123456789.123456789, -2.5e-300])
def test_a_fraction_stays_a_number_whatever_digits_it_has(fraction: float) -> None:
    """Somebody adds it up: text would be left out of the sum."""
    (_, (found,)) = sheets(encode(WorkbookEncoder([Column(name="n")]), [[fraction]]))[0]
    assert found == pytest.approx(fraction, rel=1e-14, abs=0)


def test_rows_that_a_sheet_does_not_take_go_on_in_another_under_the_same_header() -> None:
    body = encode(WorkbookEncoder([Column(name="n")], sheet_rows=4), [[n] for n in range(7)])
    assert sheets(body) == [
        [("n",), (0,), (1,), (2,)],
        [("n",), (3,), (4,), (5,)],
        [("n",), (6,)],
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_hostile_cell_comes_back_as_it_was(text: str) -> None:
    columns = [Column.model_validate({"name": "t", "format": "text"})]
    assert read_parquet(encode(ParquetEncoder(columns), [[text]])).read()["t"].to_pylist() == [text]
    if len(text) > CELL_CHARACTERS:
        with pytest.raises(ValueError, match="column 't' has more than 32767 characters"):
            check_cells(columns, [text])
        return
    check_cells(columns, [text])
    book = openpyxl.load_workbook(io.BytesIO(encode(WorkbookEncoder(columns), [[text]])))
    # A control character is written as _xHHHH_ (ECMA-376, ST_Xstring), which Excel reads and openpyxl leaves.
    assert unescape(book.worksheets[0]["A2"].value or "") == text


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([], "text"),
        ([None, None], "text"),
        ([1, None, 2], "integer"),
        ([1, 2.5], "number"),
        ([True, None], "boolean"),
        ([True, 1], "text"),
        ([1, "1"], "text"),
        ([2**63], "text"),
        (["2026-02-28"], "text"),
        ([{"a": 1}], "text"),
    ],
)
def test_the_type_of_a_column_is_as_wide_as_its_values_ask_for(values: list[Any], form: str) -> None:
    assert infer(values) == form


def test_columns_that_are_noted_come_back_as_they_were() -> None:
    records = [{"id": "a", "n": 1, "x" * 200: None}, {"id": "b", "n": 2.5}]
    found = read_noted(propose(block("parquet"), list(records[0]), records))
    assert [(column.name, column.format) for column in found] == [("id", "text"), ("n", "number"), ("x" * 200, "text")]
    named = block("parquet", columns=[{"name": "n", "header": "N", "format": "date"}, {"name": "id"}])
    found = read_noted(propose(named, list(records[0]), records))
    assert [(column.header, column.format) for column in found] == [("N", ColumnFormat.DATE), (None, ColumnFormat.TEXT)]
    assert [column.format for column in read_noted(propose(block("csv"), list(records[0]), records))] == [None] * 3


def test_a_text_that_excel_would_cut_off_is_refused_by_the_workbook_itself() -> None:
    with pytest.raises(ValueError, match="column 'n' has more than 32767 characters"):
        encode(WorkbookEncoder([Column(name="n")]), [["x" * (CELL_CHARACTERS + 1)]])


def test_more_columns_than_excel_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"16385 columns, and Excel takes 16384: choose by spec.export.columns"):
        WorkbookEncoder([Column(name=f"c{n}") for n in range(SHEET_COLUMNS + 1)])


def test_a_workbook_leaves_no_file_behind_whether_it_is_ended_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    encode(WorkbookEncoder([Column(name="n")]), [["ended"]])
    assert list(tmp_path.iterdir()) == []
    left = WorkbookEncoder([Column(name="n")])
    left.add([["left"]])
    assert list(tmp_path.iterdir())
    del left
    gc.collect()
    assert list(tmp_path.iterdir()) == []
