"""Items written into the manifest."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from batchjob.api.source import InlineItem, OnBadItem
from batchjob.errors import BadItem, InvalidSource
from batchjob.worker.sources.records import Ids, Record, decode_object
from batchjob.worker.sources.source import Source


class InlineSource(Source):
    """`spec.source.items`."""

    def __init__(self, items: Sequence[InlineItem], on_bad_item: OnBadItem = OnBadItem.FAIL) -> None:
        super().__init__(on_bad_item)
        self._items = items

    async def records(self) -> AsyncIterator[list[Record]]:
        """The items in their order; errors name them as `items[n]`, from 0 as in the manifest."""
        ids, good = Ids("item"), 0
        try:
            for index, item in enumerate(self._items):
                try:
                    data = _data(item, f"items[{index}].json")
                    ids.add(item.id, index)
                except BadItem as error:
                    self.bad.add(error)
                    continue
                body = msgspec.json.encode([item.id, data])
                self._digest.update(body)
                good += 1
                yield [Record(item.id, data, len(body))]
            self.bad.check(good)
        except InvalidSource as error:
            raise InvalidSource(f"spec.source.items: {error}") from None


def _data(item: InlineItem, where: str) -> dict[str, Any]:
    return dict(item.data or {}) if item.json_text is None else decode_object(item.json_text.encode(), where)
