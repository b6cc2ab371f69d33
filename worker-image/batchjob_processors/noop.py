"""The processor that does nothing, for trying things out and for measuring the engine alone."""

import asyncio

from pydantic import BaseModel, Field

from batchjob.worker import Context, Item, Processor


class Params(BaseModel):
    """What may be told to it."""

    seconds: float = Field(0, ge=0, allow_inf_nan=False)  # that each item takes


class Noop(Processor):
    """Type custom, `processor: noop`; the parameter `seconds` makes each item take that long."""

    async def open(self, context: Context) -> None:
        """Read the parameter."""
        self._seconds = context.read_params(Params).seconds

    async def process(self, item: Item, context: Context) -> None:
        """Wait, if told to."""
        del item, context
        if self._seconds:
            await asyncio.sleep(self._seconds)
