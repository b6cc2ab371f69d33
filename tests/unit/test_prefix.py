"""What the store has of a source that is read again."""

import pytest

from batchjob.core.items import Item
from batchjob.errors import SourceChanged
from batchjob.worker.prefix import Prefix
from batchjob.worker.sources.records import Record


def records(*ids: str) -> list[Record]:
    return [Record(name, {"text": name}, 1) for name in ids]


def mark_of(*ids: str) -> str:
    return Prefix((0, "")).extend([[Item(position, name, {"text": name}) for position, name in enumerate(ids)]])


def test_what_is_there_is_skipped_however_it_is_grouped() -> None:
    prefix = Prefix((3, mark_of("a", "b", "c")))
    assert [prefix.skip(group) for group in (records("a"), [], records("b", "c", "d"), records("e"))] == [1, 0, 2, 0]
    prefix.end()
    assert prefix.extend([[Item(3, "d", {"text": "d"})], [Item(4, "e", {"text": "e"})]]) == mark_of(*"abcde")


@pytest.mark.parametrize("found", ["abx", "acb", "ab"])
def test_a_source_that_has_others_there_or_ends_before_has_changed(found: str) -> None:
    prefix = Prefix((3, mark_of("a", "b", "c")))
    with pytest.raises(SourceChanged, match="not what it was when the run began"):  # noqa: PT012 - either may tell
        prefix.skip(records(*found))
        prefix.end()


def test_a_load_that_keeps_nothing_has_no_mark() -> None:
    prefix = Prefix(None)
    assert prefix.skip(records("a")) == 0
    assert prefix.extend([[Item(0, "a", {})]]) == ""
    prefix.end()
