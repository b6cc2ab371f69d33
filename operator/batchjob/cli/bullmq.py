"""A queue of BullMQ, as it lies in Redis. It is read alone: nothing of it is changed.

Its keys (BullMQ 3 to 5): the lists `wait` and `paused`, of which the last is the next; the sorted sets `prioritized`,
`delayed` (by 4096 times the time it is due, ms) and `failed`; a hash for each job, its `data` as JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from batchjob.cli.exits import Refused
from batchjob.cli.output import clean
from batchjob.store.connection import Connection

LISTS: Final = ("wait", "paused")
SETS: Final = ("prioritized", "delayed", "failed")
STATES: Final = (*LISTS, *SETS)
PAGE: Final = 500  # jobs a call
_MARKER: Final = b"0:"  # begins what is no job and lies in a list all the same
_DUE_BITS: Final = 12
_MINUTE_MS: Final = 60_000
_HALF: Final = re.compile("[\ud800-\udfff]")  # JSON may say it (\\ud83d), and UTF-8 cannot


class Job(NamedTuple):
    """A job that waits; `due`: ms since 1970, 0 where it may begin now."""

    id: str
    name: str
    data: dict[str, Any]
    due: int = 0


class Left(NamedTuple):
    """What stays with BullMQ, whatever is read."""

    active: int
    parents: int  # that wait for their children
    schedulers: int
    is_paused: bool


class Queue:
    """One queue."""

    def __init__(self, connection: Connection, prefix: str, name: str) -> None:
        self._connection = connection
        self._key = f"{prefix}:{name}"
        self.name = name

    async def read(self, states: Sequence[str]) -> list[Job]:
        """The jobs of some states, in the order in which they would begin. Refused where one cannot be an item."""
        found: list[Job] = []
        for state in states:
            ids = await self._ids(state)
            for first in range(0, len(ids), PAGE):
                found += await self._jobs(ids[first : first + PAGE])
        return found

    async def left(self) -> Left:
        """What it has besides."""
        asked = (
            ("LLEN", f"{self._key}:active"),
            ("ZCARD", f"{self._key}:waiting-children"),
            ("ZCARD", f"{self._key}:repeat"),
            ("HEXISTS", f"{self._key}:meta", "paused"),
        )
        active, parents, schedulers, paused = await self._connection.commands(asked)
        return Left(active, parents, schedulers, bool(paused))

    async def _ids(self, state: str) -> list[tuple[bytes, int]]:
        """Ids, and when each is due."""
        key = f"{self._key}:{state}"
        if state in LISTS:
            listed = await self._connection.command("LRANGE", key, 0, -1)
            return [(one, 0) for one in reversed(listed) if not one.startswith(_MARKER)]
        scored = await self._connection.command("ZRANGE", key, 0, -1, "WITHSCORES")
        pairs = zip(scored[::2], scored[1::2], strict=True)
        return [(one, int(float(score)) >> _DUE_BITS if state == "delayed" else 0) for one, score in pairs]

    async def _jobs(self, ids: Sequence[tuple[bytes, int]]) -> Iterator[Job]:
        asked = [("HMGET", f"{self._key}:".encode() + one, "name", "data") for one, _ in ids]
        answers = await self._connection.commands(asked)
        there = zip(ids, answers, strict=True)
        # One without data was done or removed meanwhile.
        return (_job(*one, *answer) for one, answer in there if answer[1] is not None)


def _job(raw_id: bytes, due: int, name: bytes | None, data: bytes) -> Job:
    its_id = raw_id.decode(errors="replace")
    try:
        found = json.loads(data)
    except ValueError as error:
        raise Refused(f"the job {clean(its_id)}: its data is no JSON: {error}") from None
    if _HALF.search(json.dumps(found, ensure_ascii=False)):
        raise Refused(
            f"the job {clean(its_id)}: its data has half a character, as of an emoji that was cut in two, which "
            "neither a file nor an item can hold: mend or remove the job"
        )
    return Job(
        its_id, (name or b"").decode(errors="replace"), found if isinstance(found, dict) else {"value": found}, due
    )


def split(jobs: Iterable[Job], most: int, most_bytes: int) -> Iterator[list[Job]]:
    """Parts of at most so many jobs, and bytes of their items as JSON, each of jobs that are due in the same minute."""
    part: list[Job] = []
    size = 0
    for job in sorted(jobs, key=due_minute):
        bytes_of_it = len(json.dumps(build_item(job)).encode()) + 2
        is_full = len(part) == most or size + bytes_of_it > most_bytes
        if part and (is_full or due_minute(part[0]) != due_minute(job)):
            yield part
            part, size = [], 0
        part.append(job)
        size += bytes_of_it
    if part:
        yield part


def due_minute(job: Job) -> int:
    """The minute, since 1970, in which a job is due; the next one, so that it is never early. 0: now."""
    return -(-job.due // _MINUTE_MS)


def build_item(job: Job) -> dict[str, str]:
    """It as an item of a manifest."""
    return {"id": job.id, "json": json.dumps(job.data, ensure_ascii=False)}
