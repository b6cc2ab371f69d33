"""The form a model has to fill, and what becomes of its answers."""

import json
import signal
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.blocks.ai_batch import FormSchema
from batchjob.errors import ConfigurationError
from batchjob_processors import form
from batchjob_processors.form import Form, InvalidAnswerError, find_object

FORM = Form.of_fields(
    FormSchema.model_validate(
        {
            "fields": [
                {"name": "label", "type": "enum", "enum": ["good", "bad"]},
                {"name": "score", "type": "number", "minimum": -1, "maximum": 1},
                {"name": "stars", "type": "integer", "required": False},
                {"name": "tags", "type": "list", "required": False},
                {"name": "sure", "type": "boolean", "required": False},
            ]
        }
    )
)
GOOD: dict[str, Any] = {"label": "good", "score": 0.5}
ORDER = {
    "type": "object",
    "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 2}},
    "required": ["lines"],
    "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}},
}


def test_the_schema_demands_every_field_and_lets_optional_ones_be_null() -> None:
    schema = FORM.schema
    assert schema["required"] == ["label", "score", "stars", "tags", "sure"]
    assert schema["properties"]["label"] == {"type": "string", "enum": ["good", "bad"]}
    assert schema["properties"]["score"] == {"type": "number", "minimum": -1, "maximum": 1}
    assert schema["properties"]["stars"] == {"type": ["integer", "null"]}
    assert schema["additionalProperties"] is False


def test_a_filled_form_keeps_the_forms_fields_and_nothing_else() -> None:
    answer = GOOD | {"stars": None, "tags": ["a"], "surprise": 1}
    assert FORM.parse(json.dumps(answer)) == GOOD | {"tags": ["a"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": None}, "label: None is not of type 'string'"),
        ({"label": "ugly"}, "label: 'ugly' is not one of ['good', 'bad']"),
        ({"score": "0.5"}, "score: '0.5' is not of type 'number'"),
        ({"score": True}, "score: True is not of type 'number'"),
        ({"score": 1.5}, "score: 1.5 is greater than the maximum of 1"),
        ({"score": -2}, "score: -2 is less than the minimum of -1"),
        ({"stars": 2.5}, "stars: 2.5 is not of type 'integer', 'null'"),
        ({"tags": [1]}, "tags[0]: 1 is not of type 'string'"),
        ({"sure": "yes"}, "sure: 'yes' is not of type 'boolean', 'null'"),
        ({"tags": ["half \ud83d"]}, "a text holds half of a surrogate pair"),
        ({"label": "ugly", "score": 2}, "label: 'ugly' is not one of ['good', 'bad']; score: 2 is greater"),
    ],
)
def test_an_answer_that_does_not_fill_the_form_is_refused_by_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidAnswerError) as error:
        FORM.parse(json.dumps(GOOD | change))
    assert words in str(error.value)


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidAnswerError, match="'score' is a required property"):
        FORM.parse('{"label": "good"}')


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '```json\n{"a": 1}\n```',
        'Sure! Here it is: {"a": 1} Is there anything else?',
        '<think>maybe {"a": 0}, or {this}</think>\n{"a": 1}',
    ],
)
def test_the_json_of_an_answer_is_found(text: str) -> None:
    assert find_object(text) == {"a": 1}


@pytest.mark.parametrize("text", ["", "positive", '{"a": 1', "NaN", "{" * 100_000, '{"a":' * 100_000])
def test_an_answer_without_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidAnswerError, match="the answer is"):
        FORM.parse(text)


@given(st.text())
def test_any_text_is_either_a_filled_form_or_refused(text: str) -> None:
    try:
        filled = FORM.parse(text)
    except InvalidAnswerError:
        return
    assert {"label", "score"} <= set(filled)


def test_a_json_schema_may_nest_and_what_it_refuses_is_named_by_its_place() -> None:
    order = Form.of_document(json.dumps(ORDER), "spec.aiBatch.formSchemaRef")
    assert order.parse('{"lines": [{"count": 2}], "note": null}') == {"lines": [{"count": 2}], "note": None}
    with pytest.raises(InvalidAnswerError, match=r"lines\[1\].count: 'two' is not of type 'integer'"):
        order.parse('{"lines": [{"count": 2}, {"count": "two"}]}')


@pytest.mark.parametrize("rule", [{}, {"multipleOf": 0.5}])
def test_a_number_that_no_result_can_hold_is_refused(rule: dict[str, Any]) -> None:
    form = Form.of_document(json.dumps({"type": "object", "properties": {"n": rule}}), "a")
    with pytest.raises(InvalidAnswerError, match="a number is too large"):
        form.parse('{"n": 1e999}')


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the time."""
    monkeypatch.setattr(form, "CHECK_SECONDS", 0.5)


TEXT = {"type": "string", "pattern": "^(a+)+$"}
ENDLESS = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}}


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"properties": {"a": TEXT}}, {"a": "a" * 40 + "!"}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"n": n} for n in range(5000)]}),
    ],
    ids=["pattern", "pattern of a name", "unique items"],
)
def test_an_answer_that_takes_too_long_to_check_is_refused(schema: dict[str, Any], answer: dict[str, Any]) -> None:
    found = Form.of_document(json.dumps({"type": "object"} | schema), "f")
    with pytest.raises(InvalidAnswerError, match=r"the answer takes more than .* s to check: simplify a pattern"):
        found.check(answer)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


@pytest.mark.usefixtures("hurry")
def test_a_schema_that_takes_too_long_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"f: to check {} by it takes more than .* s"):
        Form.of_document(json.dumps({"type": "object", "$ref": "#/$defs/d0", "$defs": ENDLESS}), "f")


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("text", ["So: " + '{"a":[{"b":' * 50 + "[" + "1," * 2**20, "x" + "{}" * 2**20])
def test_json_is_looked_for_no_longer_than_that(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidAnswerError, match="the answer is not JSON, and holds too much to look for it: '"):
            find_object(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**26


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type: object", "is not JSON: Expecting value"),
        ('{"type": "array"}', "must be a JSON Schema with type: object"),
        ('{"type": "object", "properties": {"a": {"type": "text"}}}', "at $.properties.a.type: 'text' is not valid"),
        (
            '{"type": "object", "properties": {"a": {"pattern": "["}}}',
            "at $.properties.a.pattern: '[' is not a 'regex'",
        ),
        ('{"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}', "there is nothing at $ref"),
        ('{"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1/s"}}}', "there is nothing at $ref"),
        ('{"type": "object", "properties": {"a": {"$dynamicRef": "#b"}}}', "there is nothing at $ref"),
        ('{"type": "object", "properties": {"id": {}}}', "a field named id would take the place of the item's own"),
        ('{"type": "object", "$ref": "#"}', "a $ref leads back to itself"),
    ],
)
def test_a_document_that_is_no_json_schema_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Form.of_document(text, "spec.aiBatch.formSchemaRef")
    assert str(error.value).startswith("spec.aiBatch.formSchemaRef")
    assert words in str(error.value)
