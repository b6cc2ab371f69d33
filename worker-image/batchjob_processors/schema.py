"""The columns of a run: all its files have the same ones, of the same types where the format has types. Pure.

The spec names them, or the first item of the source does, whose fields the loader noted. A type is inferred as widely
as the values of the first part to be written allow, and noted for all; what another item has must fit it, or that item
is given up with the way out, a `format`.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from batchjob.api.base import OWN_FIELDS
from batchjob.api.blocks.export import Column, ColumnFormat, Export, ExportFormat
from batchjob_processors.tables import value
from batchjob_processors.values import LARGEST, SMALLEST

TYPED: Final = (ExportFormat.PARQUET,)  # formats whose files have a type for each column


def is_settled(block: Export) -> bool:
    """Whether the spec alone says what the columns are."""
    typed = block.format not in TYPED or all(column.format for column in block.columns or ())
    return block.columns is not None and typed


def propose(block: Export, fields: Sequence[str], records: Sequence[dict[str, Any]]) -> bytes:
    """The columns, as JSON to note: those of the spec, else these fields; their types by these records."""
    columns = block.columns or [Column.model_construct(name=name) for name in fields if not name.startswith(OWN_FIELDS)]
    if block.format in TYPED:
        columns = [_typed(column, records) for column in columns]
    return json.dumps([column.to_json() for column in columns]).encode()


def read_noted(noted: bytes) -> list[Column]:
    """What `propose` wrote."""
    # Not validated: a field of an item may have a longer name than a spec may give.
    return [
        Column.model_construct(
            name=one["name"],
            header=one.get("header"),
            format=ColumnFormat(one["format"]) if "format" in one else None,
        )
        for one in json.loads(noted)
    ]


def _typed(column: Column, records: Sequence[dict[str, Any]]) -> Column:
    found = column.format or infer(value(record, column.name) for record in records)
    return Column.model_construct(name=column.name, header=column.header, format=found)


def infer(values: Any) -> ColumnFormat:
    """What all of these values are: booleans, whole numbers, numbers; else, and where there is none, text."""
    kinds = {_kind(content) for content in values if content is not None}
    if kinds == {ColumnFormat.INTEGER, ColumnFormat.NUMBER}:
        return ColumnFormat.NUMBER
    return kinds.pop() if len(kinds) == 1 else ColumnFormat.TEXT


def _kind(content: Any) -> ColumnFormat:
    match content:
        case bool():
            return ColumnFormat.BOOLEAN
        case int() if SMALLEST <= content <= LARGEST:
            return ColumnFormat.INTEGER
        case float():
            return ColumnFormat.NUMBER
        case _:
            return ColumnFormat.TEXT
