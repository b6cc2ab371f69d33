"""Rows as CSV and JSON lines."""

import csv
import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.blocks import Column, ExportFormat
from batchjob_processors.tables import FORMULA_STARTS, cell, csv_part, part, value

COLUMNS = [Column(name="id"), Column(name="address.city", header="City")]


def test_columns_choose_order_and_rename_and_a_dot_reaches_into_nested_data() -> None:
    rows: list[dict[str, Any]] = [{"address": {"city": "Köln"}, "id": "a", "unused": 1}, {"id": "b"}]
    assert csv_part(COLUMNS, rows).decode() == "id,City\r\na,Köln\r\nb,\r\n"
    lines = part(ExportFormat.JSONL, COLUMNS, rows).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "a", "City": "Köln"}, {"id": "b", "City": None}]


def test_a_field_whose_name_has_a_dot_goes_before_a_path() -> None:
    assert value({"a.b": 1, "a": {"b": 2}}, "a.b") == 1


def test_numbers_stay_numbers_and_nested_data_becomes_json() -> None:
    assert [cell(content) for content in (-1.5, 3, True, None, {"a": [1]})] == ["-1.5", "3", "true", "", '{"a": [1]}']


@given(st.lists(st.text(), min_size=1))
def test_text_comes_back_from_csv_unchanged_but_for_the_guard_against_formulas(texts: list[str]) -> None:
    body = csv_part([Column(name="t")], [{"t": text} for text in texts])
    _, *rows = csv.reader(io.StringIO(body.decode("utf-8", "surrogatepass"), newline=""))
    read = [row[0] if row else "" for row in rows]
    assert not any(text.startswith(FORMULA_STARTS) for text in read)
    assert [
        text[1:] if given_.startswith(FORMULA_STARTS) else text for text, given_ in zip(read, texts, strict=True)
    ] == texts
