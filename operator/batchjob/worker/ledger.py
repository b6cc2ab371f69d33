"""The note that an attempt leaves for the next."""

from typing import Final

from batchjob.core.items import Item
from batchjob.store import RunStore
from batchjob.worker.patience import patiently

Lease = tuple[str, int]  # id and fence of the chunk in hand
NOTE_LIMIT: Final = 65_536  # bytes of a note: each open item may have one in the store's memory


class Ledger:
    """A note about one item that is written at once, apart from its outcome: what the next attempt has to know.

    It serves both an effect that must not happen twice ("this mail is being sent") and an item that takes long, which
    goes on where it was (a page number, the id of an upload). A note is up to 64 KiB of bytes of your own choosing.
    It outlives retries, drains, pauses and lost workers, and goes when the item ends, in whatever way. It does not
    outlive the store (without its journal it loses the last second, say), nor does a redrive get it: that is a new run.
    A worker that was taken for lost cannot write it any more.

    Each call is a round trip to the store, about a millisecond: for a step of the work, not for a line of it. The calls
    are for an `async def`; a plain `def` passes them to `Context.wait`. They wait while the store is away, which the
    item's time limit bounds. RunGone where the run was deleted meanwhile, LeaseLost where another worker has the item:
    let both pass, since nobody waits for this attempt.
    """

    def __init__(self, store: RunStore, item: Item, lease: Lease) -> None:
        self._store = store
        self._item = item
        self._lease = lease

    async def get(self) -> bytes | None:
        """The note, or None."""
        return await patiently(lambda: self._store.ledger_get(self._item.position))

    async def mark(self, note: bytes) -> None:
        """Write or replace the note. TypeError for what is no bytes, ValueError for more than 64 KiB of them."""
        if not isinstance(note, bytes):
            raise TypeError(f"the note of item {self._item.id!r}: {type(note).__name__} is no bytes: encode it")
        if len(note) > NOTE_LIMIT:
            raise ValueError(
                f"the note of item {self._item.id!r} has {len(note)} bytes, and may have {NOTE_LIMIT}: write what is "
                "larger to a file, and note where it is"
            )
        await patiently(lambda: self._store.ledger_mark(self._item.position, *self._lease, note))

    async def clear(self) -> None:
        """Remove the note."""
        await patiently(lambda: self._store.ledger_clear(self._item.position, *self._lease))
