"""The columns of an export that names none."""

from typing import Any

from batchjob_processors.export import Export


class Agreeing:
    """A context whose run has agreed on nothing yet."""

    async def note(self, _name: str, value: bytes) -> bytes:
        return value


async def test_columns_are_the_fields_of_the_first_row_but_those_of_our_own() -> None:
    context: Any = Agreeing()
    row = {"id": "a", "mood": "good", "batchjob/answer": {"model": "m"}, "batchjobs": 1}
    columns = await Export()._default_columns(row, context)
    assert [column.name for column in columns] == ["id", "mood", "batchjobs"]
