"""The caches of all owners together: what is too much goes, from the largest first. The operator's.

An owner's pods reach the own cache alone, which they keep within a bound of its own (cache_put.lua); nobody but the
operator sees all of them. They may write anything there by hand: a cache that makes no sense goes as a whole.
"""

from collections.abc import Iterable
from typing import Final

from batchjob.core.cache import shares
from batchjob.errors import StoreDamaged
from batchjob.store import keys, scripts
from batchjob.store.connection import Connection, answered
from batchjob.store.run import CACHE_BYTES

# Of all owners: a quarter of the memory that the chart gives the store, which is for items first of all.
CACHES_BYTES: Final = 3 * CACHE_BYTES


class Caches:
    """The caches. Errors of every call: StoreUnavailable, StoreNotReady."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def bound(self, found: Iterable[bytes], limit: int | None = None) -> None:
        """Leave the caches that have these keys CACHES_BYTES together, or `limit`; the largest are cut to one level."""
        names = sorted({name for key in found if (name := keys.cache_of(key))})
        sizes = {name: size for name in names if (size := await self._counted(name)) is not None}
        for name, share in shares(sizes, CACHES_BYTES if limit is None else limit).items():
            try:
                while await self._connection.command(
                    "EVALSHA", scripts.CACHE_TRIM.sha, 3, *keys.cache_keys(name), share
                ):
                    pass
            except StoreDamaged:
                await self._remove(name)

    async def _counted(self, name: str) -> int | None:
        """Bytes of a cache; None where that is no number, and all of it has gone."""
        [answer] = await self._connection.commands([("HGET", keys.cache_keys(name)[2], "bytes")])
        if not isinstance(answer, StoreDamaged) and (counted := answered(answer) or b"0").isdigit():
            return int(counted)
        await self._remove(name)
        return None

    async def _remove(self, name: str) -> None:
        await self._connection.command("UNLINK", *keys.cache_keys(name))
