"""Results as JSON: what is none is an error with its place, and never a silent null."""

from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.status import ErrorClass
from batchjob.core.documents import encode
from batchjob.core.items import Failed, Item
from batchjob.core.retry import settle
from tests.unit.test_retry import force

NAN, INFINITY = float("nan"), float("inf")


@dataclass
class Measured:
    score: float


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (NAN, "it is nan"),
        ({"score": NAN}, "score is nan"),
        ({"rows": [{"score": 1.0}, {"score": -INFINITY}]}, "rows[1].score is -inf"),
        ({"no": None, "pair": (0.5, INFINITY)}, "pair[1] is inf"),
        (Measured(NAN), "score is nan"),
    ],
)
def test_a_number_that_json_has_not_is_named_with_its_place(result: Any, words: str) -> None:
    with pytest.raises(ValueError, match="and JSON has no such number") as error:
        encode(result)
    assert str(error.value).startswith(words)


def test_a_result_with_such_a_number_is_an_error_of_its_item() -> None:
    outcome = settle(Item(7, "seven", {}, 3), {"score": NAN}, force(), Random(1))
    message = "TypeError: the result is no JSON document: score is nan, and JSON has no such number"
    assert outcome == Failed(7, ErrorClass.INTERNAL, message)


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(documents)
def test_every_document_comes_back_as_it_was(document: Any) -> None:
    assert msgspec.json.decode(encode(document)) == document
