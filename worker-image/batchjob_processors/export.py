"""Type export: items out to part files, and a manifest that vouches for them.

A chunk is a part, and so is a range of a query's key: it becomes visible whole with one PUT or the end of a multipart
upload (a rename on a claim), and its checksum is committed together with its items. A part is named after its first
position, and its content or its attempt, so a worker that lost its lease can never overwrite what another one wrote; a
file that no commit vouches for is removed when the manifest is written. With `singleFile` the parts are joined first.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from typing import Any, Final, Literal
from uuid import uuid4

from batchjob.api.blocks.export import FIELDS_NOTE, Column, ExportFormat
from batchjob.api.blocks.export import Export as Block
from batchjob.api.run import Purpose
from batchjob.worker import (
    ConfigurationError,
    Context,
    ErrorClass,
    Fail,
    Failed,
    Item,
    Outcome,
    Processor,
    Sealed,
    Succeeded,
    open_range,
)
from batchjob_processors.encoders import Row, build_encoder, encode, ending, header_bytes
from batchjob_processors.parts import StreamedPart
from batchjob_processors.schema import is_settled, propose, read_noted
from batchjob_processors.tables import check_cells, empty_columns, value
from batchjob_processors.values import read_as

NAME_DIGITS: Final = 8


class Export(Processor):
    """Writes files; the block is `spec.export`."""

    async def open(self, context: Context) -> None:
        """Open the destination; ConfigurationError where the block is missing."""
        block = context.run.spec.export
        if block is None:
            raise ConfigurationError("spec.export is missing")
        _check_libraries(block)
        self._block: Block = block
        # A range of a query's key is a part by itself.
        self._is_of_ranges = context.run.spec.has_ranges
        self.chunk_items = 1 if self._is_of_ranges else block.part_rows(of_ranges=False)
        self._files = context.destination(block.destination, Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA)

    async def process_many(self, items: Sequence[Item], context: Context) -> list[Outcome]:
        """Write one part file with all items; they succeed together once it is visible."""
        if self._is_of_ranges:
            return [await self._write_range(item, context) for item in items]
        columns = await self._columns(items, context)
        rows, outcomes = _read_rows(self._block, columns, items)
        if rows:
            # In a thread: to pack a large part may take a second, in which the items of this worker would stand still.
            try:
                body = await asyncio.to_thread(encode, build_encoder(self._block, columns), rows)
            except UnicodeDecodeError:
                raise  # of the rows, which `open_range` explains
            except ValueError as error:
                raise Fail(str(error)) from None
            digest = hashlib.sha256(body).hexdigest()
            name = f"part-{items[0].position:012d}-{digest[:8]}{ending(self._block)}"
            await self._files.put(name, body)
            empty = empty_columns(columns, rows)
            fields = {"rows": len(rows), "bytes": len(body), "sha256": digest, "emptyColumns": empty}
            self._count(context, name, columns, fields)
        return outcomes

    async def _write_range(self, item: Item, context: Context) -> Outcome:
        """Write one part file with the rows of a range, as they come from the database; none where it is empty."""
        block = self._block
        names = [column.name for column in block.columns] if block.columns else None
        async with open_range(item, context, names, _values(block)) as found:
            first = await anext(found.batches, None)
            if first is None:
                return Succeeded(item.position)
            columns = block.columns or [Column.model_construct(name=name) for name in found.names]
            part = StreamedPart(build_encoder(block, columns, found.kinds, of_lines=found.are_lines), columns)
            # What is in it is known at its end, so its name is of this attempt alone.
            name = f"part-{item.position:012d}-{uuid4().hex[:NAME_DIGITS]}{ending(block)}"
            try:
                await self._files.write(name, part.pieces(_after(first, found.batches)))
            except ValueError as error:
                raise Fail(str(error)) from None
        self._count(context, name, columns, part.fields)
        return Succeeded(item.position)

    def _count(self, context: Context, name: str, columns: Sequence[Column], fields: dict[str, Any]) -> None:
        """Vouch for a part."""
        before = {"headerBytes": header_bytes(self._block, columns)} if self._block.single_file else {}
        context.part(name, fields | before)
        context.usage("rowsExported", fields["rows"])
        context.usage("bytesWritten", fields["bytes"])

    async def _columns(self, items: Sequence[Item], context: Context) -> list[Column]:
        """Those of the spec, or the first item's fields, with what the first part has: all of a run have the same."""
        if self._block.columns and is_settled(self._block):
            return self._block.columns
        records = [_record(item) for item in items]
        fields = list(records[0])
        if not self._block.columns:
            # Noted by the loader; of a run that an earlier version loaded nobody did, and these are as good as any.
            fields = json.loads(await context.note(FIELDS_NOTE, json.dumps(fields).encode()))
        mine = propose(self._block, fields, records)
        return read_noted(await context.note("columns", mine))

    async def seal(self, context: Context) -> Sealed:
        """Join the parts where one file is wanted; write the manifest and remove files it does not list."""
        joined = f"{context.run.name}{ending(self._block)}" if self._block.single_file else ""
        return await context.write_manifest(self._files, joined)


def _values(block: Block) -> Literal["json", "python", "text", "csv", "csv-escaped"]:
    """How the values of a query are wanted."""
    match block.format:
        case ExportFormat.PARQUET:
            return "python"
        case ExportFormat.CSV if any(column.format for column in block.columns or ()):
            return "text"
        case ExportFormat.CSV:
            return "csv-escaped" if block.escape_formulas else "csv"
    return "json"


async def _after(first: Sequence[Row], rest: AsyncIterator[Sequence[Row]]) -> AsyncIterator[Sequence[Row]]:
    yield first
    async for some in rest:
        yield some


def _record(item: Item) -> dict[str, Any]:
    return {"id": item.id} | item.data


def _check_libraries(block: Block) -> None:
    if block.format is not ExportFormat.PARQUET:
        return
    # Before it is imported: the library's own allocator keeps 35 MiB for the next time.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if find_spec("pyarrow") is None:
        raise ConfigurationError(
            "spec.export.format: parquet needs the library pyarrow, which is not here. In a cluster: leave "
            "spec.worker.image out, or build yours on batchjob/worker-parquet. Without one: "
            "pip install 'batchjob[parquet]'"
        )


def _read_rows(block: Block, columns: Sequence[Column], items: Sequence[Item]) -> tuple[list[Row], list[Outcome]]:
    """The rows of the items that have one, and what becomes of each item."""
    rows: list[Row] = []
    outcomes: list[Outcome] = []
    for item in items:
        record = _record(item)
        try:
            row = [read_as(column, value(record, column.name)) for column in columns]
            if block.format is ExportFormat.XLSX:
                check_cells(columns, row)
        except ValueError as error:
            outcomes.append(Failed(item.position, ErrorClass.INVALID_INPUT, str(error)))
        else:
            rows.append(row)
            outcomes.append(Succeeded(item.position))
    return rows, outcomes
