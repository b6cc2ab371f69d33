"""Rows of a PostgreSQL query, through a server-side cursor in a read-only transaction: memory stays constant.

JSON has no decimals, dates, uuids and the like; they arrive as the text that PostgreSQL writes for them, which is what
psql shows.
"""

import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec

from batchjob.api.source import OnBadItem, Sql
from batchjob.errors import BadItem, InvalidSource
from batchjob.worker.sources.limits import RECORD_BYTES, check_cost
from batchjob.worker.sources.postgres import Cursor, columns_of, in_time, open_cursor, prefer_text, translated
from batchjob.worker.sources.records import Ids, Record, decode_object, record_id
from batchjob.worker.sources.source import Source

FETCH_ROWS: Final = 50  # at once: each may have 1 MiB


class SqlSource(Source):
    """`spec.source.sql`."""

    def __init__(self, place: Sql, id_field: str, credentials: Path, on_bad_item: OnBadItem = OnBadItem.FAIL) -> None:
        """`credentials`: the folder where the Secret is mounted."""
        super().__init__(on_bad_item)
        self._place = place
        self._id_field = id_field
        self._credentials = credentials
        self._ids = Ids("row")

    async def records(self) -> AsyncIterator[list[Record]]:
        """The rows in the order of the query."""
        row, good, size, began = 0, 0, 0, time.monotonic()
        with translated():
            async with open_cursor(self._place, self._credentials, self._place.query.encode(), prefer_text) as cursor:
                names = self._columns(cursor)
                while rows := await in_time(cursor.fetchmany(FETCH_ROWS)):
                    check_cost("the query", size, time.monotonic() - began)
                    records = []
                    for values in rows:
                        row += 1
                        try:
                            records.append(self._record(dict(zip(names, values, strict=True)), row))
                        except BadItem as error:
                            self.bad.add(error)
                    size += sum(record.size for record in records)
                    good += len(records)
                    yield records
                self.bad.check(good)

    def _columns(self, cursor: Cursor) -> list[str]:
        names = columns_of(cursor)
        if self._id_field not in names:
            has = ", ".join(names[:10])
            raise InvalidSource(
                f"the query has no column {self._id_field!r}, which names the item (spec.source.idField); it has: {has}"
            )
        return names

    def _record(self, data: dict[str, Any], row: int) -> Record:
        where = f"row {row}"
        try:
            body = msgspec.json.encode({name: _plain(value) for name, value in data.items()})
        except RecursionError:
            raise BadItem(f"{where}: nested too deeply") from None
        if len(body) > RECORD_BYTES:
            raise BadItem(f"{where}: longer than {RECORD_BYTES} bytes, the most a record may have")
        plain = decode_object(body, where)
        item_id = record_id(plain, self._id_field, where)
        self._ids.add(item_id, row)
        self._digest.update(body)
        return Record(item_id, plain, len(body))


def _plain(value: Any) -> Any:
    """A value as JSON has it: NaN and the infinities are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return [_plain(entry) for entry in value] if isinstance(value, list) else value
