"""What a processor learns from its context, and what it may count."""

from pathlib import Path
from typing import Any

import pytest

from batchjob.api.defaults import effective
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.core.items import Item
from batchjob.worker import Context


def run(**fields: Any) -> Run:
    spec = BatchJobSpec.model_validate(
        {"type": "custom", "source": {"items": [{"id": "a", "data": {}}]}, "custom": {"processor": "noop"}, **fields}
    )
    return Run(uid="u", namespace="n", name="job", epoch="e", spec=spec, effective=effective(spec))


def test_a_context_knows_the_item_in_hand_and_says_so_when_there_is_none(tmp_path: Path) -> None:
    pod: Any = Context(run(custom={"processor": "noop", "params": {"k": "v"}}), None, tmp_path)  # type: ignore[arg-type]
    assert pod.params == {"k": "v"}
    assert pod.deadline is None
    with pytest.raises(LookupError):
        _ = pod.idempotency_key
    first = pod.holding([Item(3, "three", {}, attempt=2)], 60)
    again = pod.holding([Item(3, "three", {}, attempt=2)], 60)
    other = pod.holding([Item(3, "three", {}, attempt=3)], 60)
    assert (first.idempotency_key, first.attempt) == ("u:three", 2)
    assert 59 < first.seconds_left <= 60
    assert first.random.random() == again.random.random()
    assert first.random.random() != other.random.random()


def test_usage_only_grows(tmp_path: Path) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    pod.usage("pages", 0)
    pod.usage("pages", 2)
    wrong: Any
    for wrong in (-1, 2**53 + 1, 1.5, True, "3", float("nan")):
        with pytest.raises(ValueError, match=r"usage 'pages': .* is no whole number from 0 to 2"):
            pod.usage("pages", wrong)
    assert pod.usage_sums == {"pages": 2}
