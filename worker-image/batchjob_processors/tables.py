"""Rows of an export as CSV or JSON lines. Pure."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from batchjob.api.blocks.export import Column, Export, ExportFormat

# A spreadsheet runs a cell that begins with one of these as a formula (OWASP, CSV injection).
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
# Except a number, whose sign is its own: it runs nothing, and an apostrophe would turn it into text.
_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def part(block: Export, columns: Sequence[Column], rows: Iterable[dict[str, Any]]) -> bytes:
    """One part file, UTF-8: CSV by RFC 4180 with a header row, or one JSON object a line."""
    if block.format is ExportFormat.CSV:
        return csv_part(columns, rows, escape=block.escape_formulas)
    return jsonl_part(columns, rows)


def csv_part(columns: Sequence[Column], rows: Iterable[dict[str, Any]], *, escape: bool) -> bytes:
    """CSV with a header row and CRLF line ends; `escape`: text that a spreadsheet would run gets an apostrophe."""
    guard = escaped if escape else str
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(guard(header(column)) for column in columns)
    writer.writerows([guard(cell(value(row, column.name))) for column in columns] for row in rows)
    return file.getvalue().encode()


def jsonl_part(columns: Sequence[Column], rows: Iterable[dict[str, Any]]) -> bytes:
    """One JSON object a line, with the columns' headers as names."""
    lines = ({header(column): value(row, column.name) for column in columns} for row in rows)
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def header(column: Column) -> str:
    """The column's name in the file."""
    return column.header or column.name


def value(row: dict[str, Any], path: str) -> Any:
    """The field at a path such as `address.city`; None where there is none. A field named with a dot goes first."""
    if path in row:
        return row[path]
    found: Any = row
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def cell(content: Any) -> str:
    """A value as CSV text: numbers as they are, nested data as JSON, nothing for None."""
    match content:
        case None:
            return ""
        case str():
            return content
        case _:
            return json.dumps(content, ensure_ascii=False)


def escaped(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would run it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not _NUMBER.fullmatch(text) else text


def empty_columns(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Names of columns for which no row has a value: most likely typing errors."""
    return [column.name for column in columns if all(value(row, column.name) is None for row in rows)]
