"""Test equipment: processors that run in processes of their own, and note in a file who they are and what they do.

A line of the journal, whose path is the parameter `journal`: what was begun, in which process, with which item.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchjob.worker import Context, Fail, Item, Processor


class Computing(Processor):
    """`do` of an item: nothing, compute or pages (until the file `until` is there), or how it ends, see below."""

    runs_in = "process"

    async def open(self, context: Context) -> None:
        """Note it."""
        self._journal = Path(context.params["journal"])
        self._note("open")
        if os.getpid() == os.getsid(0):  # not in the worker itself
            match context.params.get("open"):
                case "fail":
                    raise RuntimeError("there is no model")
                case "hang":
                    self._note("hang")
                    time.sleep(600)  # noqa: ASYNC251 - as what computes would

    def process(self, item: Item, context: Context) -> Any:
        """Do it."""
        self._note("process", item.id)
        match item.data.get("do"):
            case "compute":
                until = Path(item.data["until"])
                while not until.exists():
                    sum(range(1000))
            case "pages" | "remember" as what:
                return getattr(self, f"_{what}")(item, context)
            case "fail":
                raise Fail("told to fail: \ud83d")
            case "exit":
                sys.exit(3)
            case "crash":
                ctypes.string_at(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "ask":
                _ = context.results()
            case "spawn":
                helper = subprocess.Popen(["sleep", "600"])
                self._note("helper", str(helper.pid))
                time.sleep(600)
            case _:
                pass
        context.usage("seen", 1)
        context.logger.info("computed", pid=os.getpid())
        return {"pid": os.getpid(), "key": context.idempotency_key, "in_time": context.seconds_left > 0}

    def _pages(self, item: Item, context: Context) -> str:
        """Five pages and a crash, and in the next attempt the rest."""
        until = Path(item.data["until"])
        if pages := context.wait(context.ledger.get()):
            return f"read {pages.decode()} pages, then the rest"
        for page in range(1000):
            context.progress(page / 2000, "many pages")
        context.progress(0.5, "five pages")
        context.wait(context.ledger.mark(b"5"))
        while not until.exists():
            sum(range(1000))
        raise RuntimeError(context.wait(context.note("why", b"no more paper")))

    def _remember(self, _: Item, context: Context) -> str:
        """What the cache has, which is told of it once."""
        if known := context.wait(context.cache.get("computed")):
            return known.decode()
        context.wait(context.cache.set("computed", b"for hours", 60))
        return "nothing"

    async def close(self) -> None:
        """Note it."""
        self._note("close")

    def _note(self, what: str, item: str = "-") -> None:
        with self._journal.open("a") as journal:
            journal.write(f"{what} {os.getpid()} {item}\n")


class ComputingMany(Computing):
    """The same by pairs, with a part for each."""

    chunk_items = 2

    def process_many(self, items: Sequence[Item], context: Context) -> list[Any]:
        """Do them one after the other."""
        context.part(f"part-{items[0].position}", {"rows": len(items), "bytes": 1, "sha256": "x"})
        return [Fail("odd one") if item.data.get("odd") else self.process(item, context) for item in items]
