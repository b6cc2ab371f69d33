"""Events of a run: what its scripts say to whoever watches, in the same step as what they tell of.

The stream keeps about the last thousand, so that a watcher that comes back reads what it missed. It is for live
views: the truth is the snapshot. The HTTP API will read it; until that is there, nobody but the tests does.
"""

from typing import Final, NamedTuple

from batchjob.errors import RunGone
from batchjob.store.connection import BLOCK_LIMIT_SECONDS, Connection
from batchjob.store.keys import run_key

BEGINNING: Final = "0"  # before the first event
PAGE: Final = 500  # events a call
MOST_CHARACTERS: Final = 2048  # of a value: a run's user may write its own keys by hand


class Event(NamedTuple):
    """One event.

    `kind`: a state that the run has come into (core.items.RunState), `progress`, `item_failed`, `paused`,
    `resumed`, `tripped`.
    `fields`: with a state or progress the counters (none stands for 0), with `item_failed` position, id, class and
    message, with `tripped` how many of how many items had failed, or how many tokens were
    used. Where a processor tells how far its items are, `progress` has `reached` too, thousandths of items that are
    done, those in hand counted in part (it never falls), and `item` and `message`: who spoke last since the event
    before, and what was said.
    """

    id: str  # ascending in a run: `<ms of the store's clock>-<n>`
    kind: str
    fields: dict[str, str]


async def read_events(connection: Connection, uid: str, after: str, wait_seconds: float) -> list[Event]:
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
    return [_event(entry_id, fields) for entry_id, fields in entries]


def _event(entry_id: bytes, flat: list[bytes]) -> Event:
    texts = [text.decode(errors="replace")[:MOST_CHARACTERS] for text in flat]
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    return Event(entry_id.decode(), fields.pop("type", ""), fields)
