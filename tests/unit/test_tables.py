"""Cells of an export, and what a column's format makes of them."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from batchjob.api.blocks.export import Column
from batchjob_processors.tables import as_json, cell, empty_columns, escaped, value
from batchjob_processors.values import read_as


def test_a_field_whose_name_has_a_dot_goes_before_a_path() -> None:
    assert value({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert value({"a": {"b": 2}}, "a.b") == 2
    assert value({"a": [1]}, "a.b") is None


def test_numbers_stay_numbers_and_nested_data_becomes_json() -> None:
    assert [cell(content) for content in (-1.5, 3, True, None, {"a": [1]})] == ["-1.5", "3", "true", "", '{"a": [1]}']


def test_numbers_that_json_has_not_are_text() -> None:
    values = [float("nan"), float("inf"), float("-inf")]
    assert [cell(content) for content in values] == ["NaN", "Infinity", "-Infinity"]
    assert as_json({"a": values, "b": 1.5}) == '{"a": ["NaN", "Infinity", "-Infinity"], "b": 1.5}'


def test_dates_and_times_are_written_by_iso_8601() -> None:
    assert cell(date(2026, 2, 28)) == "2026-02-28"
    assert cell(datetime(2026, 2, 28, 9, 30, tzinfo=UTC)) == "2026-02-28T09:30:00Z"
    assert cell([datetime(2026, 2, 28, 9, 30, tzinfo=UTC)]) == '["2026-02-28T09:30:00Z"]'


@pytest.mark.parametrize("number", ["-5", "+1.5e3", "-.5", "+7.", "-1E-9"])
def test_a_number_with_a_sign_is_no_formula(number: str) -> None:
    assert escaped(number) == number


@pytest.mark.parametrize("text", ["-1+1", "=1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-5\n", "-", "--5", "-\u0665", "\t1"])
def test_what_begins_like_a_formula_and_is_no_number_gets_an_apostrophe(text: str) -> None:
    assert escaped(text) == f"'{text}"


def test_a_column_without_a_value_in_any_row_is_empty() -> None:
    columns = [Column(name="id"), Column(name="address.city")]
    assert empty_columns(columns, [["a", None], ["b", None]]) == ["address.city"]
    assert empty_columns(columns, [["a", None], ["b", ""]]) == []


@pytest.mark.parametrize(
    ("form", "content", "read"),
    [
        ("text", 7, "7"),
        ("text", True, "true"),
        ("text", {"a": 1}, '{"a": 1}'),
        ("integer", "0012", 12),
        ("integer", 3.0, 3),
        ("number", "0.10", 0.1),
        ("number", "-7", -7),
        ("number", 2.5, 2.5),
        ("boolean", "T", True),
        ("boolean", 0, False),
        ("boolean", True, True),
        ("date", "2026-02-28", date(2026, 2, 28)),
        ("date", "2026-02-28 23:59:59+14:00", date(2026, 2, 28)),
        ("datetime", "2026-02-28 10:00:00.5", datetime(2026, 2, 28, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("datetime", "2026-02-28T10:00:00+02:00", datetime(2026, 2, 28, 8, tzinfo=UTC)),
        ("datetime", "2026-02-28T10:00:00Z", datetime(2026, 2, 28, 10, tzinfo=UTC)),
        ("datetime", "2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        *((form, None, None) for form in ("text", "integer", "number", "boolean", "date", "datetime")),
    ],
)
def test_a_format_reads_what_a_text_says(form: str, content: Any, read: Any) -> None:
    found = read_as(Column.model_validate({"name": "x", "format": form}), content)
    assert (found, type(found)) == (read, type(read))


UNREADABLE: dict[str, list[Any]] = {
    "integer": ["1.5", 1.5, True, "", "one", "\u0665", [1], "1e3"],
    "number": ["1,5", False, "NaN", "", "1 000", {}],
    "boolean": ["yes", 2, "", []],
    "date": ["28.02.2026", "2026-02-30", 20260228, "2026-02-28 at noon", "infinity"],
    "datetime": ["noon", 0, "infinity", "", "0001-01-01T00:00:00+14:00"],
}


@pytest.mark.parametrize(("form", "content"), [(form, each) for form, some in UNREADABLE.items() for each in some])
def test_a_value_that_its_format_cannot_be_is_named_with_its_column_and_a_way_out(form: str, content: Any) -> None:
    with pytest.raises(ValueError, match=r"^column 'x' has .*, which is no .*: correct the item, or choose another"):
        read_as(Column.model_validate({"name": "x", "format": form}), content)
