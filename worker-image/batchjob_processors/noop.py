"""The processor that does nothing, for trying things out and for measuring the engine alone."""

import asyncio
import math
from typing import Final

from batchjob.worker import ConfigurationError, Context, Item, Processor

SECONDS: Final = "seconds"


class Noop(Processor):
    """Type custom, `processor: noop`; the parameter `seconds` makes each item take that long."""

    async def open(self, context: Context) -> None:
        """Read the parameter, and tell of those that are none."""
        text = context.params.get(SECONDS, "0")
        try:
            self._seconds = float(text)
        except ValueError:
            self._seconds = math.nan
        if not 0 <= self._seconds < math.inf:
            raise ConfigurationError(f"spec.custom.params.seconds is no number of seconds, from 0: {text!r}")
        for name in sorted(set(context.params) - {SECONDS}):
            context.logger.warning("a parameter has no effect: noop knows `seconds` alone", param=name)

    async def process(self, item: Item, context: Context) -> None:
        """Wait, if told to."""
        del item, context
        if self._seconds:
            await asyncio.sleep(self._seconds)
