"""Items on their way to where they are staged: counted, hashed and put together to blocks."""

import hashlib
from collections.abc import AsyncIterator, Callable

from batchjob.gateway.blocks import PIECE_BYTES
from batchjob.gateway.splitting import Piece


class Tally:
    """How many, how many bytes, and the digest of all of them."""

    def __init__(self, first: Piece, others: AsyncIterator[Piece]) -> None:
        self.items = self.bytes = 0
        self._first, self._others = first, others
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what was staged so far."""
        return self._hash.hexdigest()

    async def pieces(
        self, line_of: Callable[[Piece, int], bytes], check: Callable[[int, int], None]
    ) -> AsyncIterator[bytes]:
        """The lines, some at once. What is wrong with an item, and what `check` raises, ends it."""
        block = bytearray()
        async for piece in self._all():
            line = line_of(piece, self.items)
            self.items += 1
            self.bytes += len(line)
            check(self.items, self.bytes)
            block += line
            if len(block) >= PIECE_BYTES:
                self._hash.update(block)
                yield bytes(block)
                block.clear()
        self._hash.update(block)
        if block:
            yield bytes(block)

    async def _all(self) -> AsyncIterator[Piece]:
        yield self._first
        async for piece in self._others:
            yield piece
