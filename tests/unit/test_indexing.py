"""The keeper of the index stops when it is told to, whatever comes at the same moment."""

import asyncio
from unittest.mock import Mock

import pytest

from batchjob.controller.indexing import Indexing


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancel_that_comes_with_a_change_is_heard(turns: int) -> None:
    """One that is not leaves a leader that cannot write and does not end: nobody leads in its place here any more."""
    indexing = Indexing(Mock(), Mock(), Mock())
    waits = asyncio.create_task(indexing._is_quiet())
    await asyncio.sleep(0.01)
    indexing._moved.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if waits.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waits
