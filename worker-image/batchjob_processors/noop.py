"""The processor that does nothing, for trying things out and for measuring the engine alone."""

import asyncio

from batchjob.worker import Context, Item, Processor


class Noop(Processor):
    """Type custom, `processor: noop`; the parameter `seconds` makes each item take that long."""

    async def open(self, context: Context) -> None:
        """Read the parameter."""
        self._seconds = float(context.params.get("seconds", "0"))

    async def process(self, item: Item, context: Context) -> None:
        """Wait, if told to."""
        del item, context
        if self._seconds:
            await asyncio.sleep(self._seconds)
