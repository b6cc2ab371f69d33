"""Type export: items out to part files, and a manifest that vouches for them.

A chunk is a part: it becomes visible whole with one PUT (a rename on a claim), and its checksum is committed together
with its items. A part is named after its first position and its content, so a worker that lost its lease can never
overwrite what another one wrote; a file that no commit vouches for is removed when the manifest is written.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from batchjob.api.blocks.export import Column, ExportFormat
from batchjob.api.blocks.export import Export as Block
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context, ErrorClass, Failed, Item, Outcome, Processor, Sealed, Succeeded
from batchjob_processors.encoders import Row, build_encoder, encode, ending
from batchjob_processors.schema import is_settled, propose, read_noted
from batchjob_processors.tables import check_cells, empty_columns, value
from batchjob_processors.values import read_as


class Export(Processor):
    """Writes files; the block is `spec.export`."""

    async def open(self, context: Context) -> None:
        """Open the destination; ConfigurationError where the block is missing."""
        block = context.run.spec.export
        if block is None:
            raise ConfigurationError("spec.export is missing")
        _check_libraries(block)
        self._block: Block = block
        self.chunk_items = block.rows_per_file
        self._files = context.destination(block.destination, Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA)

    async def process_many(self, items: Sequence[Item], context: Context) -> list[Outcome]:
        """Write one part file with all items; they succeed together once it is visible."""
        columns = await self._columns(items, context)
        rows, outcomes = _read_rows(self._block, columns, items)
        if rows:
            # In a thread: to pack a large part may take a second, in which the items of this worker would stand still.
            body = await asyncio.to_thread(encode, build_encoder(self._block, columns), rows)
            digest = hashlib.sha256(body).hexdigest()
            name = f"part-{items[0].position:012d}-{digest[:8]}{ending(self._block)}"
            await self._files.put(name, body)
            empty = empty_columns(columns, rows)
            context.part(name, {"rows": len(rows), "bytes": len(body), "sha256": digest, "emptyColumns": empty})
            context.usage("rowsExported", len(rows))
            context.usage("bytesWritten", len(body))
        return outcomes

    async def _columns(self, items: Sequence[Item], context: Context) -> list[Column]:
        """Those of the spec, or what the first items of any pod have: all parts of a run have the same."""
        if self._block.columns and is_settled(self._block):
            return self._block.columns
        mine = propose(self._block, [_record(item) for item in items])
        return read_noted(await context.note("columns", mine))

    async def seal(self, context: Context) -> Sealed:
        """Write the manifest and remove files it does not list."""
        return await context.write_manifest(self._files)


def _record(item: Item) -> dict[str, Any]:
    return {"id": item.id} | item.data


def _check_libraries(block: Block) -> None:
    if block.format is ExportFormat.PARQUET and find_spec("pyarrow") is None:
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
