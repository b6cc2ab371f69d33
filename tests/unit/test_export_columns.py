"""The columns of an export that names none."""

from batchjob.api.blocks.export import Export
from batchjob_processors.schema import propose, read_noted


def test_columns_are_the_fields_of_the_first_row_but_those_of_our_own() -> None:
    block = Export.model_validate({"destination": {"url": "s3://bucket"}})
    row = {"id": "a", "mood": "good", "batchjob/answer": {"model": "m"}, "batchjobs": 1}
    assert [column.name for column in read_noted(propose(block, list(row), [row]))] == ["id", "mood", "batchjobs"]
