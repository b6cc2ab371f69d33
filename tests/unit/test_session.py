"""JSON that is nested deeper than Python reads it."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.kube.session import DEEPEST, Lines, cut, decode

DEPTH = 10_000
JSON = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\\\a'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[]{}"\\\\'), inner, max_size=3),
)


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_what_lies_too_deep_is_read_as_null_and_the_rest_as_it_is(brackets: str) -> None:
    opening, closing = ("[", "]") if brackets == "[]" else ('{"k":', "}")
    text = f'{{"a":[1,"]}}\\"[",{opening * DEPTH}0{closing * DEPTH},3],"b":{{"c":2}}}}'
    with pytest.raises(RecursionError):
        json.loads(text)
    found = decode(text.encode())
    assert (found["a"][:2], found["a"][3], found["b"]) == ([1, ']}"['], 3, {"c": 2})
    depth, inner = 2, found["a"][2]
    while inner is not None:
        depth, inner = depth + 1, inner[0] if brackets == "[]" else inner["k"]
    assert depth == DEEPEST


@given(JSON)
def test_what_is_not_too_deep_is_left_alone(value: Any) -> None:
    text = json.dumps([value, *[[]] * DEEPEST]).encode()
    assert cut(text) is text


@given(JSON)
def test_what_stands_beside_it_is_left_alone(value: Any) -> None:
    deep = ("[" * DEPTH + "]" * DEPTH).encode()
    text = json.dumps({"before": value, "deep": "<deep>", "after": value}).encode().replace(b'"<deep>"', deep)
    found = decode(text)
    assert (found["before"], found["after"]) == (value, value)


async def test_the_lines_of_a_watch_are_cut_for_whoever_reads_them() -> None:
    async def content() -> AsyncGenerator[bytes]:
        yield b'{"a":' + b"[" * DEPTH + b"]" * DEPTH + b"}\n"
        yield b'{"b":1}\n'

    reader: Any = content()
    found = [json.loads(line) async for line in Lines(reader).iter_chunked(1)]
    assert isinstance(found[0]["a"], list)
    assert found[1] == {"b": 1}
