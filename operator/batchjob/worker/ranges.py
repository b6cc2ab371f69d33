"""For processors: the rows of an item that is a range of a query's key (`spec.source.sql.partitionBy`)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from batchjob.api.run import Purpose
from batchjob.api.status import ErrorClass
from batchjob.core.items import Item
from batchjob.core.retry import Fail, Retry
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.worker.context import Context

if TYPE_CHECKING:
    from batchjob.worker.sources.sql_ranges import Rows, Values


@asynccontextmanager
async def open_range(
    item: Item, context: Context, columns: Sequence[str] | None = None, values: "Values" = "json"
) -> AsyncIterator["Rows"]:
    """The rows of the range, in the order of the key; see `Rows`. Memory stays constant however many they are.

    `columns`: which of the query's, in this order; None: all. `values`: those that JSON has as such, all others as the
    text that PostgreSQL writes ("json"); decimals, dates and times as Python has them too ("python"); all but booleans
    as text ("text"); or lines of CSV ("csv"; "csv-escaped", where formulas have an apostrophe), which cost least, see
    `Rows.are_lines`. Raises Retry where the database is not there, Fail where the query is wrong.
    """
    from batchjob.worker.sources.sql_ranges import read_range  # noqa: PLC0415 - its library would cost every pod 25 MB

    place, bounds = context.run.spec.source.sql, item.data.get("range")
    if place is None or place.partition_by is None or not isinstance(bounds, dict):
        raise Fail(f"item {item.id!r} is no range of a query: spec.source.sql.partitionBy makes them")
    folder = context.reference(Purpose.SOURCE_CREDENTIALS)
    try:
        async with read_range(place, folder, bounds, columns, values) as rows:
            yield rows
    except SourceUnreachable as error:
        raise Retry(str(error), error_class=ErrorClass.UPSTREAM) from None
    except InvalidSource as error:
        raise Fail(str(error)) from None
