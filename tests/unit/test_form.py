"""The form a model has to fill, and what becomes of its answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.blocks.ai_batch import FormSchema
from batchjob_processors.form import InvalidAnswerError, json_schema, parse_answer

FORM = FormSchema.model_validate(
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
GOOD: dict[str, Any] = {"label": "good", "score": 0.5}


def test_the_schema_demands_every_field_and_lets_optional_ones_be_null() -> None:
    schema = json_schema(FORM)
    assert schema["required"] == ["label", "score", "stars", "tags", "sure"]
    assert schema["properties"]["label"] == {"type": "string", "enum": ["good", "bad"]}
    assert schema["properties"]["score"] == {"type": "number", "minimum": -1, "maximum": 1}
    assert schema["properties"]["stars"] == {"type": ["integer", "null"]}
    assert schema["additionalProperties"] is False


def test_a_filled_form_keeps_the_forms_fields_and_nothing_else() -> None:
    answer = GOOD | {"stars": None, "tags": ["a"], "surprise": 1}
    assert parse_answer(FORM, json.dumps(answer)) == GOOD | {"tags": ["a"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": None}, "label is missing"),
        ({"label": "ugly"}, "label must be one of good, bad"),
        ({"score": "0.5"}, "score must be of type number"),
        ({"score": True}, "score must be of type number"),
        ({"score": 1.5}, "score must be at most 1"),
        ({"score": -2}, "score must be at least -1"),
        ({"stars": 2.5}, "stars must be of type integer"),
        ({"tags": [1]}, "tags must be of type list"),
        ({"sure": "yes"}, "sure must be of type boolean"),
    ],
)
def test_an_answer_that_does_not_fill_the_form_is_refused_by_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidAnswerError, match=words):
        parse_answer(FORM, json.dumps(GOOD | change))


@given(st.text())
def test_any_text_is_either_a_filled_form_or_refused(text: str) -> None:
    try:
        filled = parse_answer(FORM, text)
    except InvalidAnswerError:
        return
    assert {"label", "score"} <= set(filled)
