"""The manifest of results, and the rows that it vouches for."""

import json
from typing import Any

import pytest

from batchjob.api.defaults import effective
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.store import ItemResult
from batchjob.worker.manifest import as_row, build_manifest, read_parts


def run(**fields: Any) -> Run:
    spec = BatchJobSpec.model_validate(
        {"type": "custom", "source": {"items": [{"id": "a", "data": {}}]}, "custom": {"processor": "noop"}, **fields}
    )
    return Run(uid="u", namespace="n", name="job", epoch="e", spec=spec, effective=effective(spec))


def test_a_manifest_sums_its_parts_and_sorts_them() -> None:
    committed = {
        "part-2": b'{"rows": 2, "bytes": 20, "sha256": "b"}',
        "part-1": b'{"rows": 1, "bytes": 10, "sha256": "a"}',
    }
    assert json.loads(build_manifest(run(), read_parts(committed))) == {
        "batchJob": "job",
        "uid": "u",
        "parts": [
            {"name": "part-1", "rows": 1, "bytes": 10, "sha256": "a"},
            {"name": "part-2", "rows": 2, "bytes": 20, "sha256": "b"},
        ],
        "rows": 3,
        "bytes": 30,
    }


def test_a_manifest_names_the_columns_for_which_no_part_has_a_value() -> None:
    committed = {
        "part-1": b'{"rows": 1, "bytes": 1, "sha256": "a", "emptyColumns": ["typo", "rare"]}',
        "part-2": b'{"rows": 1, "bytes": 1, "sha256": "b", "emptyColumns": ["typo"]}',
    }
    document = json.loads(build_manifest(run(), read_parts(committed)))
    assert document["emptyColumns"] == ["typo"]
    assert "emptyColumns" not in json.loads(build_manifest(run(), []))


@pytest.mark.parametrize(
    ("result", "row"),
    [
        (b'{"a": 1}', {"id": "x", "a": 1}),
        (b'{"id": "mine", "a": 1}', {"id": "x", "value": {"id": "mine", "a": 1}}),
        (b'{"id": "x", "a": 1}', {"id": "x", "a": 1}),
        (b'{"id": 7, "a": 1}', {"id": "x", "value": {"id": 7, "a": 1}}),
        (b"[1]", {"id": "x", "value": [1]}),
        (b'"t"', {"id": "x", "value": "t"}),
    ],
)
def test_a_result_is_a_row_with_the_items_id_whatever_id_it_has_itself(result: bytes, row: dict[str, Any]) -> None:
    assert as_row(ItemResult(0, "x", result)) == row
