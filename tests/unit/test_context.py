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


@pytest.mark.parametrize("seconds", [float("nan"), -1, "30", None])
def test_a_hold_that_is_no_number_is_told_to_whoever_asks_for_it(tmp_path: Path, seconds: Any) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    pod.hold(float("inf"))
    assert pod.holds == [86_400], "a day at the most"
    with pytest.raises(ValueError, match=r"hold: .* is no number of seconds from 0 up"):
        pod.hold(seconds)


def test_usage_only_grows(tmp_path: Path) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    pod.usage("pages", 0)
    pod.usage("pages", 2)
    wrong: Any
    for wrong in (-1, 2**53 + 1, 1.5, True, "3", float("nan")):
        with pytest.raises(ValueError, match=r"usage 'pages': .* is no whole number from 0 to 2"):
            pod.usage("pages", wrong)
    assert pod.usage_sums == {"pages": 2}


@pytest.mark.parametrize("name", ["", "x" * 129, "half \ud800", None, 7])
def test_a_name_that_the_store_cannot_take_is_an_error_of_the_attempt(name: Any, tmp_path: Path) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give text of 1 to 128 characters"):
        pod.usage(name, 1)
    with pytest.raises(ValueError, match="give text of 1 to 128 characters"):
        pod.part(name, {})


def test_an_attempt_uses_no_more_in_sum_than_can_be_counted(tmp_path: Path) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    pod.usage("pages", 2**53)
    with pytest.raises(ValueError, match="may use 2"):
        pod.usage("pages", 1)
    assert pod.usage_sums == {"pages": 2**53}


def test_progress_is_told_of_all_items_in_hand_or_of_one(tmp_path: Path) -> None:
    pod = Context(run(), None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(LookupError, match="no item is in hand"):
        pod.progress(0.5)
    items = [Item(n, f"i{n}", {}) for n in range(3)]
    context = pod.holding(items, 60)
    wrong: Any
    for wrong in (-0.1, 1.01, float("nan"), "0.5", None):
        with pytest.raises(ValueError, match=r"progress: .* is no number from 0 to 1"):
            context.progress(wrong)
    wrong = b"half"
    with pytest.raises(TypeError, match="the message b'half' is no text"):
        context.progress(0.5, wrong)
    assert context.told == {}
    context.progress(0.5, "x" * 1000)
    context.of(items[1]).progress(1, "done")
    assert [(n, one.fraction, one.item) for n, one in context.told.items()] == [
        (0, 0.5, "i0"), (1, 1.0, "i1"), (2, 0.5, "i0")
    ]  # fmt: skip
    assert context.told[0].message == "x" * 256


def test_a_context_of_one_of_several_items_shares_all_but_what_is_its_own(tmp_path: Path) -> None:
    items = [Item(n, f"i{n}", {}) for n in range(2)]
    context = Context(run(), None, tmp_path).holding(items, 60)  # type: ignore[arg-type]
    second = context.of(items[1])
    assert (context.idempotency_key, second.idempotency_key) == ("u:i0", "u:i1")
    second.usage("pages", 2)
    second.part("p", {})
    assert (context.usage_sums, list(context.new_parts)) == ({"pages": 2}, ["p"])
    assert 0 < second.seconds_left <= context.seconds_left + 1
    assert second.deadline is not None
    context.end()
    assert second.seconds_left <= 0
    with pytest.raises(LookupError, match="'i9' is not in hand"):
        context.of(Item(9, "i9", {}))
