"""Type export: items out to part files, and a manifest that vouches for them.

A chunk is a part: it becomes visible whole with one PUT (a rename on a claim), and its checksum is committed together
with its items. A part is named after its first position and its content, so a worker that lost its lease can never
overwrite what another one wrote; a file that no commit vouches for is removed when the manifest is written.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from batchjob.api.base import OWN_FIELDS
from batchjob.api.blocks.export import Column
from batchjob.api.blocks.export import Export as Block
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context, Item, Outcome, Processor, Sealed, Succeeded
from batchjob_processors.tables import empty_columns, part


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
        rows = [{"id": item.id} | item.data for item in items]
        columns = self._block.columns or await self._default_columns(rows[0], context)
        body = part(self._block, columns, rows)
        digest = hashlib.sha256(body).hexdigest()
        name = f"part-{items[0].position:012d}-{digest[:8]}.{self._block.format}"
        await self._files.put(name, body)
        empty = empty_columns(columns, rows)
        context.part(name, {"rows": len(rows), "bytes": len(body), "sha256": digest, "emptyColumns": empty})
        context.usage("rowsExported", len(rows))
        context.usage("bytesWritten", len(body))
        return [Succeeded(item.position) for item in items]

    async def _default_columns(self, row: dict[str, Any], context: Context) -> list[Column]:
        """The fields of the first row that any pod wrote, but BatchJob's own: all parts have the same columns."""
        mine = json.dumps([name for name in row if not name.startswith(OWN_FIELDS)]).encode()
        return [Column(name=name) for name in json.loads(await context.note("columns", mine))]

    async def seal(self, context: Context) -> Sealed:
        """Write the manifest and remove files it does not list."""
        return await context.write_manifest(self._files)
