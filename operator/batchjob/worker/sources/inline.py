"""Items written into the manifest."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from batchjob.api.source import InlineItem
from batchjob.errors import InvalidSource
from batchjob.worker.sources.source import Ids, Record, Source


class InlineSource(Source):
    """`spec.source.items`."""

    def __init__(self, items: Sequence[InlineItem]) -> None:
        super().__init__()
        self._items = items

    async def records(self) -> AsyncIterator[Record]:
        """The items in their order; errors name them as `items[n]`, from 0 as in the manifest."""
        ids = Ids("item")
        for index, item in enumerate(self._items):
            data = _data(item, f"spec.source.items[{index}]")
            ids.add(item.id, index)
            body = msgspec.json.encode([item.id, data])
            self._digest.update(body)
            yield Record(item.id, data, len(body))


def _data(item: InlineItem, where: str) -> dict[str, Any]:
    if item.json_text is None:
        return dict(item.data or {})
    try:
        data = msgspec.json.decode(item.json_text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidSource(f"{where}.json is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidSource(f"{where}.json must be a JSON object, such as {{}}")
    return data
