"""Test equipment: a processor that does to its pod what an item tells it to."""

import asyncio
import ctypes
import time
from pathlib import Path
from typing import Any

from batchjob.worker import Context, Fail, Item, Processor, Retry


class Chaos(Processor):
    """`do` of an item: nothing, sleep or block (`seconds`), fail, retry (until attempt `attempts`), or crash.

    Nobody sleeps or fails once the file `unless` is there: a test that has seen what it waited for need not wait for
    the rest. What was done is a line in the file that the parameter `ledger` names: run and item.
    """

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        """Do it."""
        match item.data.get("do"):
            case "sleep" if not _exists(item.data.get("unless")):
                await asyncio.sleep(float(item.data["seconds"]))
            case "block":
                time.sleep(float(item.data["seconds"]))  # noqa: ASYNC251 - what nobody should do
            case "fail" if not _exists(item.data.get("unless")):
                raise Fail("told to fail")
            case "retry" if item.attempt < int(item.data["attempts"]):
                raise Retry("told to come back", after=0.1)
            case "crash":
                context.logger.warning("crashing")
                ctypes.string_at(0)  # a segmentation fault: process 1 of a container ignores its own SIGKILL
            case _:
                pass
        if ledger := context.params.get("ledger"):
            _note(Path(ledger), f"{context.run.uid} {item.id}\n")
        return {"attempt": item.attempt}


def _exists(path: Any) -> bool:
    return path is not None and Path(path).exists()


def _note(ledger: Path, line: str) -> None:
    with ledger.open("a") as file:
        file.write(line)
