"""Rows as CSV and JSON lines."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.blocks.export import Column, Export
from batchjob_processors.tables import FORMULA_STARTS, cell, csv_part, empty_columns, escaped, part, value

COLUMNS = [Column(name="id"), Column(name="address.city", header="City")]


def block(form: str, **fields: Any) -> Export:
    return Export.model_validate({"format": form, "destination": {"url": "s3://b/x"}, **fields})


def test_columns_choose_order_and_rename_and_a_dot_reaches_into_nested_data() -> None:
    rows: list[dict[str, Any]] = [{"address": {"city": "Köln"}, "id": "a", "unused": 1}, {"id": "b"}]
    assert part(block("csv"), COLUMNS, rows).decode() == "id,City\r\na,Köln\r\nb,\r\n"
    lines = part(block("jsonl"), COLUMNS, rows).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "a", "City": "Köln"}, {"id": "b", "City": None}]


def test_a_field_whose_name_has_a_dot_goes_before_a_path() -> None:
    assert value({"a.b": 1, "a": {"b": 2}}, "a.b") == 1


def test_numbers_stay_numbers_and_nested_data_becomes_json() -> None:
    assert [cell(content) for content in (-1.5, 3, True, None, {"a": [1]})] == ["-1.5", "3", "true", "", '{"a": [1]}']


@pytest.mark.parametrize("number", ["-5", "+1.5e3", "-.5", "+7.", "-1E-9"])
def test_a_number_with_a_sign_is_no_formula(number: str) -> None:
    assert escaped(number) == number


@pytest.mark.parametrize("text", ["-1+1", "=1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-5\n", "-", "--5", "-\u0665", "\t1"])
def test_what_begins_like_a_formula_and_is_no_number_gets_an_apostrophe(text: str) -> None:
    assert escaped(text) == f"'{text}"


def test_an_export_for_programs_leaves_every_text_as_it_is() -> None:
    columns = [Column(name="=a")]
    assert part(block("csv", escapeFormulas=False), columns, [{"=a": "=1+1"}]) == b"=a\r\n=1+1\r\n"
    assert part(block("csv"), columns, [{"=a": "=1+1"}]) == b"'=a\r\n'=1+1\r\n"


def test_a_column_without_a_value_in_any_row_is_empty() -> None:
    rows: list[dict[str, Any]] = [{"id": "a", "address": {"city": None}}, {"id": "b"}]
    assert empty_columns(COLUMNS, rows) == ["address.city"]
    assert empty_columns(COLUMNS, [*rows, {"address": {"city": ""}}]) == []


@given(st.lists(st.text(), min_size=1))
def test_text_comes_back_from_csv_unchanged_but_for_the_guard_against_formulas(texts: list[str]) -> None:
    body = csv_part([Column(name="t")], [{"t": text} for text in texts], escape=True)
    _, *rows = csv.reader(io.StringIO(body.decode("utf-8", "surrogatepass"), newline=""))
    read = [row[0] if row else "" for row in rows]
    assert read == [escaped(text) for text in texts]
    for text in read:
        if text.startswith(FORMULA_STARTS):
            float(text)  # raises for what is no number
