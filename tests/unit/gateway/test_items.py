"""An item as it was sent becomes the line that a worker reads as the same item."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.source import OnBadItem, SourceFormat
from batchjob.gateway.items import staged_line
from batchjob.gateway.problems import Problem
from batchjob.gateway.splitting import ITEM_BYTES, Piece
from batchjob.worker.sources.formats import PARSERS
from batchjob.worker.sources.records import BadItems
from tests.unit.gateway.test_splitting import texts, values


@given(st.dictionaries(texts, values, max_size=4), st.sampled_from([None, 2]), st.booleans())
def test_a_worker_reads_what_was_sent(data: dict[str, Any], indent: int | None, as_text: bool) -> None:
    item = {"id": "1", "json": json.dumps(data)} if as_text else {"data": data, "id": "1"}
    line = staged_line(Piece(item, json.dumps(item, indent=indent, ensure_ascii=False)), 0)
    assert line.count(b"\n") == 1
    parser = PARSERS[SourceFormat.ITEMS]("id", BadItems(OnBadItem.FAIL))
    [record] = [*parser.feed(line + b"\n"), *parser.finish()]
    assert (record.id, record.data) == ("1", data)


@pytest.mark.parametrize(
    ("item", "where", "code"),
    [
        ("x", "", 422),
        ({"data": {}}, "/id", 422),
        ({"id": 1, "data": {}}, "/id", 422),
        ({"id": "", "data": {}}, "/id", 422),
        ({"id": "x" * 129, "data": {}}, "/id", 422),
        ({"id": "1"}, "", 422),
        ({"id": "1", "data": {}, "json": "{}"}, "", 422),
        ({"id": "1", "data": []}, "/data", 422),
        ({"id": "1", "json": {}}, "/json", 422),
        ({"id": "1", "json": '{"a": 1, "a": 2}'}, "/json", 422),
        ({"id": "1", "json": "[]"}, "/json", 422),
        ({"id": "1", "data": {}, "x": 1}, "/x", 422),
        ({"id": "1", "data": {"a": "ä" * (ITEM_BYTES // 2)}}, "", 413),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_with_an_item_is_pointed_at(item: Any, where: str, code: int) -> None:
    text = json.dumps(item, ensure_ascii=False)
    with pytest.raises(Problem) as refusal:
        staged_line(Piece(item, text), 7)
    assert [(fault.where, fault.line) for fault in refusal.value.faults] == [(f"/items/7{where}", None)]
    with pytest.raises(Problem) as of_a_line:
        staged_line(Piece(item, text, 9), 7)
    assert [(fault.where, fault.line) for fault in of_a_line.value.faults] == [(where, 9)]
    assert refusal.value.slug.status == of_a_line.value.slug.status == code
    assert "line 9" in of_a_line.value.detail
