"""Dead letters by what they have in common, as the API and the Job page show them."""

from types import SimpleNamespace
from typing import Any

import pytest

from batchjob.core.rows import fingerprint
from batchjob.gateway.causes import Causes, read_causes
from batchjob.gateway.ui.views_job import group_errors
from batchjob.store import DeadLetter


def letter(position: int, message: str, error_class: str = "timeout") -> DeadLetter:
    return DeadLetter(position, f"i{position}", error_class, message, 1, 0, b"{}", 0)


def doors_with(letters: list[DeadLetter]) -> Any:
    async def dead_letters(_: str, limit: int, cursor: int = 0) -> list[DeadLetter]:
        return [one for one in letters if one.position >= cursor][:limit]

    return SimpleNamespace(store=SimpleNamespace(dead_letters=dead_letters))


def test_ten_thousand_items_that_failed_for_one_reason_are_one_row_for_api_and_page() -> None:
    causes = Causes()
    for number in range(10_000):
        causes.add(letter(number, f"no answer in {number} s for 'item {number}'"))
    causes.add(letter(10_000, "boom", "internal"))
    most, least = causes.most_common(500)
    assert (most.count, most.item, most.position, most.error_class) == (10_000, "i0", 0, "timeout")
    assert most.message == "no answer in 0 s for 'item 0'"
    assert most.fingerprint == fingerprint("timeout", "no answer in 77 s for 'x'")
    assert (least.count, least.item) == (1, "i10000")
    shown = group_errors(causes, "/p")
    assert [(one.fingerprint, one.count, one.item, one.path) for one in shown] == [
        (most.fingerprint, 10_000, "i0", "/p/items/0"),
        (least.fingerprint, 1, "i10000", "/p/items/10000"),
    ]


@pytest.mark.parametrize(
    ("there", "read", "complete"), [(0, 0, True), (60, 60, True), (100, 100, True), (101, 100, False)]
)
async def test_it_says_whether_all_were_read(there: int, read: int, *, complete: bool) -> None:
    causes = await read_causes(doors_with([letter(2 * number, "x") for number in range(there)]), "uid", 100)
    assert (causes.read, causes.complete) == (read, complete)
    assert [cause.count for cause in causes.most_common(1)] == ([read] if read else [])
