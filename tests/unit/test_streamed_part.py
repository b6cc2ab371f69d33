"""A part that is written while its rows are read."""

import threading
from collections.abc import AsyncIterator, Iterable, Sequence

from batchjob.api.blocks.export import Column
from batchjob_processors.encoders import Encoder, Row
from batchjob_processors.parts import StreamedPart


async def test_a_streamed_part_is_packed_beside_the_loop_to_its_end() -> None:
    """A workbook is made at its end: ten seconds for a million rows, in which other items would stand still."""

    class Busy(Encoder):
        def begin(self) -> bytes:
            return b"begin "

        def add(self, rows: Sequence[Row]) -> bytes:
            return b"%d rows, in the loop: %r; " % (len(rows), threading.current_thread() is loop_thread)

        def end(self) -> Iterable[bytes]:
            yield b"end, in the loop: %r" % (threading.current_thread() is loop_thread)

    async def batches() -> AsyncIterator[list[Row]]:
        yield [["a"], ["b"]]

    loop_thread = threading.current_thread()
    pieces = [piece async for piece in StreamedPart(Busy(), [Column(name="n")]).pieces(batches())]
    assert b"".join(pieces) == b"begin 2 rows, in the loop: False; end, in the loop: False"
