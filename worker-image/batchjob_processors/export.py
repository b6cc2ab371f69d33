"""Type export: items out to part files, and a manifest that vouches for them.

A chunk is a part: it becomes visible whole with one PUT (a rename on a claim), and its checksum is committed together
with its items. A part is named after its first position and its content, so a worker that lost its lease can never
overwrite what another one wrote; a file that no commit vouches for is removed when the manifest is written.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from batchjob.api.blocks.export import Column
from batchjob.api.blocks.export import Export as Block
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context, ErrorClass, Failed, Item, Outcome, Processor, Sealed, Succeeded
from batchjob_processors.encoders import Row, build_encoder, encode, ending
from batchjob_processors.tables import empty_columns, value
from batchjob_processors.values import read_as


class Export(Processor):
    """Writes files; the block is `spec.export`."""

    async def open(self, context: Context) -> None:
        """Open the destination; ConfigurationError where the block is missing."""
        block = context.run.spec.export
        if block is None:
            raise ConfigurationError("spec.export is missing")
        self._block: Block = block
        self.chunk_items = block.rows_per_file
        self._files = context.destination(block.destination, Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA)

    async def process_many(self, items: Sequence[Item], context: Context) -> list[Outcome]:
        """Write one part file with all items; they succeed together once it is visible."""
        columns = self._block.columns or await self._default_columns(_record(items[0]), context)
        rows, outcomes = _read_rows(columns, items)
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

    async def _default_columns(self, row: dict[str, Any], context: Context) -> list[Column]:
        """The fields of the first row that any pod wrote: all parts of a run have the same columns."""
        mine = json.dumps(list(row)).encode()
        return [Column(name=name) for name in json.loads(await context.note("columns", mine))]

    async def seal(self, context: Context) -> Sealed:
        """Write the manifest and remove files it does not list."""
        return await context.write_manifest(self._files)


def _record(item: Item) -> dict[str, Any]:
    return {"id": item.id} | item.data


def _read_rows(columns: Sequence[Column], items: Sequence[Item]) -> tuple[list[Row], list[Outcome]]:
    """The rows of the items that have one, and what becomes of each item."""
    rows: list[Row] = []
    outcomes: list[Outcome] = []
    for item in items:
        record = _record(item)
        try:
            rows.append([read_as(column, value(record, column.name)) for column in columns])
        except ValueError as error:
            outcomes.append(Failed(item.position, ErrorClass.INVALID_INPUT, str(error)))
        else:
            outcomes.append(Succeeded(item.position))
    return rows, outcomes
