"""Events of a run: what its scripts say to whoever watches, in the same step as what they tell of.

The stream keeps about the last thousand, so that a watcher that comes back reads what it missed. It is for live
views: the truth is the snapshot. The operator carries it on to people (see `live`).
"""

from typing import Final

from batchjob.core.events import RunEvent
from batchjob.errors import RunGone
from batchjob.store.connection import BLOCK_LIMIT_SECONDS, Connection
from batchjob.store.keys import run_key

PAGE: Final = 500  # events a call
MOST_CHARACTERS: Final = 2048  # of a value: a run's user may write its own keys by hand


async def read_events(connection: Connection, uid: str, after: str, wait_seconds: float) -> list[RunEvent]:
    """Events after the one with the id `after`, oldest first; waits for one, at most so long and 5 s.

    Raises RunGone where the store does not know the run.
    """
    block = () if wait_seconds <= 0 else ("BLOCK", max(round(1000 * min(wait_seconds, BLOCK_LIMIT_SECONDS)), 1))
    key = run_key(uid, "events")
    answer = await connection.command("XREAD", "COUNT", PAGE, *block, "STREAMS", key, after)
    if answer is None:
        if not await connection.command("EXISTS", run_key(uid, "meta")):
            raise RunGone(f"the store does not know run {uid}: it was deleted, or the store was emptied")
        return []
    [[_, entries]] = answer
    return [build_run_event(entry_id, fields) for entry_id, fields in entries]


def build_run_event(entry_id: bytes, flat: list[bytes]) -> RunEvent:
    """An event as it lies in the stream of a run."""
    texts = [text.decode(errors="replace")[:MOST_CHARACTERS] for text in flat]
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    return RunEvent(entry_id.decode(), fields.pop("type", ""), fields)
