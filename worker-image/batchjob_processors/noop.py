"""The processor that does nothing, for trying things out and for measuring the engine alone."""

import asyncio

from batchjob.worker import ConfigurationError, Context, Item, Processor


class Noop(Processor):
    """Type custom, `processor: noop`; the parameter `seconds` makes each item take that long."""

    async def open(self, context: Context) -> None:
        """Read the parameter."""
        text = context.params.get("seconds", "0")
        try:
            self._seconds = float(text)
        except ValueError:
            raise ConfigurationError(f"spec.custom.params.seconds is not a number: {text!r}") from None

    async def process(self, item: Item, context: Context) -> None:
        """Wait, if told to."""
        del item, context
        if self._seconds:
            await asyncio.sleep(self._seconds)
