"""What a queue allows of a source, counted while it is read."""

import pytest

from batchjob.api.run import SourceLimits
from batchjob.errors import SourceTooLarge
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Bound

TEN = [Record(f"i{n}", {}, 10) for n in range(10)]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (SourceLimits(max_items=19), "more than 19 items, which is what BatchQueue nightly allows"),
        (SourceLimits(max_payload_bytes=199), "more than 199 bytes, which is what BatchQueue nightly allows"),
    ],
)
def test_reading_ends_with_the_record_that_is_too_much(limits: SourceLimits, said: str) -> None:
    bound = Bound(limits, "nightly")
    bound.count(TEN)
    with pytest.raises(SourceTooLarge, match=said):
        bound.count(TEN)


def test_as_much_as_the_queue_allows_is_read() -> None:
    bound = Bound(SourceLimits(max_items=20, max_payload_bytes=200), "nightly")
    bound.count(TEN)
    bound.count(TEN)
