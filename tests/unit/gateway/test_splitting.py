"""Large bodies taken apart as they come: the same items however they are cut, and no less strictly than small ones."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.gateway import splitting
from batchjob.gateway.bodies import DECODER, MAX_BYTES, parse_object
from batchjob.gateway.problems import BAD_REQUEST, Problem
from batchjob.gateway.splitting import ITEM_BYTES, MOST_BLANKS, Document, Lines, Splitter

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(texts.filter(lambda name: name != "items"), values, max_size=3)
cuts = st.lists(st.integers(0, 10_000), max_size=6)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[first:last] for first, last in pairwise(edges)]


def split(splitter: Splitter, *blocks: bytes) -> tuple[dict[str, Any], list[Any]]:
    pieces = [piece for block in blocks for piece in splitter.feed(block)]
    pieces += splitter.finish()
    assert all(json.loads(piece.text) == piece.value for piece in pieces)
    return splitter.fields, [piece.value for piece in pieces]


@given(fields, st.lists(values, max_size=5), fields, cuts, st.sampled_from([None, 1]), st.booleans())
def test_an_object_is_read_the_same_however_it_is_cut(
    before: dict[str, Any], items: list[Any], after: dict[str, Any], places: list[int], indent: int | None, escape: bool
) -> None:
    after = {name: value for name, value in after.items() if name not in before}
    body = json.dumps({**before, "items": items, **after}, indent=indent, ensure_ascii=escape).encode()
    assert split(Document(), *cut(body, places)) == ({**before, **after}, items)


def test_a_mistake_is_told_where_it_is_however_much_comes_after_it() -> None:
    rest = b', {"text": "' + b"x" * 60_000 + b'"}'
    for mistake in (b'{"id": oops}', b'{"id" 1}', b'{"id": "a\x01b"}', b"[1 2]"):
        blocks = [b'{"items": [1, ' + mistake, *[rest] * 40, b"]}"]
        with pytest.raises(Problem, match="not JSON") as refusal:
            split(Document(), *blocks)
        assert refusal.value.slug is BAD_REQUEST
        assert "/items/1" in refusal.value.detail


@given(fields, st.lists(values, max_size=5), cuts, st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_lines_are_read_the_same_however_they_are_cut(
    first: dict[str, Any], items: list[Any], places: list[int], end: str, mark: bool
) -> None:
    lines = [json.dumps(value, ensure_ascii=False) for value in (first, *items)]
    body = ("\ufeff" * mark + end.join(lines)).encode()
    splitter = Lines()
    assert split(splitter, *cut(body, places)) == (first, items)
    assert splitter.line_of_fields == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"items": [1', "it breaks off"),
        ('{"items": [1]', "it breaks off"),
        ('{"items": [1,]}', "/items/1"),
        ('{"items": [1 2]}', ", or ] has to stand here"),
        ('{"items": [1]} x', "there is more after its end"),
        ('{"items": [1], "items": [2]}', "'items' is there twice"),
        ('{"a": 1, "items": [1], "a": 2}', "'a' is there twice"),
        ('{"items": [{"a": 1, "a": 2}]}', "'a' is there twice in an object"),
        ('{"items": [{"a": NaN}]}', "NaN is no number"),
        ('{"items": [1e999]}', "too large a number"),
        ('{"items": [{"a": "\\ud800"}]}', "half of a surrogate pair"),
        ('{"items": [' + "[" * 65 + "]" * 65 + "]}", "nests deeper than 64"),
        ('{"items": [' + "[" * 20_000 + "]}", "nests deeper than 64"),
        ('{"items": ["a\nb"]}', "Invalid control character"),
        ("[]", "{ has to stand here"),
        ("", "it breaks off"),
        ("{1: 2}", "a field has no name"),
        ('{"a" 1}', ": has to stand here"),
        ('{"items": [1], }', "Expecting value"),
    ],
    ids=lambda value: value[:24],
)
def test_what_small_bodies_may_not_be_large_ones_may_not_either(body: str, said: str) -> None:
    with pytest.raises(Problem) as small:
        parse_object(body.encode())
    for blocks in ([body.encode()], [bytes([sign]) for sign in body.encode()[:4000]] + [body.encode()[4000:]]):
        with pytest.raises(Problem, match="not JSON") as refusal:
            split(Document(), *blocks)
        assert said in refusal.value.detail
        assert refusal.value.slug.status == 400 <= small.value.slug.status


def test_a_text_that_is_not_utf_8_is_refused() -> None:
    for splitter in (Document(), Lines()):
        with pytest.raises(Problem, match="not UTF-8"):
            split(splitter, b'{"items": ["\xff"]}')
    with pytest.raises(Problem, match="not UTF-8"):
        split(Document(), '{"items": ["ä'.encode()[:-1])


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ('{"type": "x"}\n\n{"id": 1\n', 3, "not JSON"),
        ('{"type": "x"}\n{"id": 1, "id": 2}', 2, "twice"),
        ('{"type": "x"}\n{"id": "\\ud800"}', 2, "surrogate"),
        ('{"type": "x"}\n' + "[" * 65 + "]" * 65, 2, "nests deeper"),
        ('{"type": "x"}\n"' + "x" * ITEM_BYTES + '"\n', 2, f"more than {ITEM_BYTES} bytes"),
        ('{"type": "x", "items": []}\n', 1, "a line of its own"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_bad_line_is_named_by_its_number(body: str, line: int, said: str) -> None:
    with pytest.raises(Problem) as refusal:
        split(Lines(), body.encode())
    assert said in refusal.value.detail
    [fault] = refusal.value.faults
    assert fault.to_json()["line"] == line


def test_no_lines_are_no_job() -> None:
    with pytest.raises(Problem, match="There is no line"):
        split(Lines(), b"\n \n")
    with pytest.raises(Problem, match="line 2: The body has to be a JSON object"):
        split(Lines(), b"\n[]\n")


@pytest.mark.parametrize("splitter", [Document, Lines])
def test_what_has_no_end_is_not_collected(splitter: type[Splitter]) -> None:
    begun, fed = splitter(), list[bytes]()

    def feed() -> None:
        for block in [b'{"items": ["' if splitter is Document else b'{"a": 1}\n"', *[b"x" * 65_536] * 40]:
            fed.append(block)
            assert [*begun.feed(block)] == []

    with pytest.raises(Problem) as refusal:
        feed()
    assert refusal.value.slug.status == 413
    assert sum(map(len, fed)) <= ITEM_BYTES + 2 * 65_536


@pytest.mark.parametrize("is_name", [True, False])
def test_fields_may_not_be_long_either(*, is_name: bool) -> None:
    long = "x" * (MAX_BYTES // 2)
    fields = {f"a{long}": 1, f"b{long}": 1} if is_name else {"a": long, "b": long}
    body = json.dumps({**fields, "items": [1]}).encode()
    with pytest.raises(Problem) as refusal:
        split(Document(), body)
    assert refusal.value.slug.status == 413


def test_an_item_that_comes_in_small_blocks_is_read_over_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    item = json.dumps({f"k{number}": number for number in range(20_000)}).encode()
    read = list[int]()

    class Decoder:
        def raw_decode(self, text: str, at: int) -> tuple[Any, int]:
            read.append(len(text) - at)
            return DECODER.raw_decode(text, at)

    monkeypatch.setattr(splitting, "DECODER", Decoder())
    blocks = [item[start : start + 256] for start in range(0, len(item), 256)]
    assert split(Document(), b'{"items": [', *blocks, b"]}") == ({}, [json.loads(item)])
    assert sum(read) < 4 * len(item)


@pytest.mark.parametrize(
    ("splitter", "begun", "blanks"),
    [
        (Document, b'{"items": [1,', b" \n"),
        (Document, b'{"items": [1]}', b"\n"),
        (Document, b"", b"\t"),
        (Lines, b'{"type": "x"}\n1\n', b"\n"),
        (Lines, b"", b" \n"),
    ],
)
def test_blanks_are_not_without_end(splitter: type[Splitter], begun: bytes, blanks: bytes) -> None:
    def feed() -> None:
        taken = splitter()
        for block in [begun, *[blanks * 1000] * (MOST_BLANKS // 1000 + 2)]:
            fed.append(block)
            list(taken.feed(block))

    fed = list[bytes]()
    with pytest.raises(Problem, match="leave them out") as refusal:
        feed()
    assert refusal.value.slug.status == 413
    assert sum(map(len, fed)) > MOST_BLANKS


def test_an_empty_line_for_each_item_is_no_matter() -> None:
    count = MOST_BLANKS + 2
    assert split(Lines(), b'{"type": "x"}\n\n' + b"1\n\n" * count) == ({"type": "x"}, [1] * count)
