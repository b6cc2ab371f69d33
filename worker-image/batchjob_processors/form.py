"""Forms: the JSON Schema that a model is asked to fill, and the check of what it answered. Pure."""

import json
from typing import Any, Final

from batchjob.api.blocks.ai_batch import FormField, FormFieldType, FormSchema

_TYPES: Final[dict[FormFieldType, dict[str, Any]]] = {
    FormFieldType.STRING: {"type": "string"},
    FormFieldType.NUMBER: {"type": "number"},
    FormFieldType.INTEGER: {"type": "integer"},
    FormFieldType.BOOLEAN: {"type": "boolean"},
    FormFieldType.ENUM: {"type": "string"},
    FormFieldType.LIST: {"type": "array", "items": {"type": "string"}},
}


class InvalidAnswerError(Exception):
    """The answer does not fill the form; the message names the field and what was wrong."""


def json_schema(form: FormSchema) -> dict[str, Any]:
    """The form as a JSON Schema of an object with exactly these fields.

    Structured output demands that every property is required, so an optional field allows null instead.
    """
    return {
        "type": "object",
        "properties": {field.name: _property(field) for field in form.fields},
        "required": [field.name for field in form.fields],
        "additionalProperties": False,
    }


def _property(field: FormField) -> dict[str, Any]:
    schema = dict(_TYPES[field.type])
    bounds = {"minimum": field.minimum, "maximum": field.maximum, "enum": field.enum, "description": field.description}
    schema |= {name: value for name, value in bounds.items() if value is not None}
    if not field.required:
        schema["type"] = [schema["type"], "null"]
        if field.enum:
            schema["enum"] = [*field.enum, None]
    return schema


def parse_answer(form: FormSchema, text: str) -> dict[str, Any]:
    """The filled form from a model's answer: only the form's fields, absent optional ones left out.

    Raises:
        InvalidAnswerError: the text is not a JSON object, or a field is missing or outside its type or bounds.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        raise InvalidAnswerError(f"the answer is not JSON: {text[:80]!r}") from None
    if not isinstance(answer, dict):
        raise InvalidAnswerError(f"the answer is not a JSON object: {text[:80]!r}")
    filled = {}
    for field in form.fields:
        value = answer.get(field.name)
        if value is None:
            if field.required:
                raise InvalidAnswerError(f"{field.name} is missing")
            continue
        _check(field, value)
        filled[field.name] = value
    return filled


def _check(field: FormField, value: Any) -> None:
    if not _has_type(field.type, value):
        raise InvalidAnswerError(f"{field.name} must be of type {field.type}, got {value!r:.80}")
    if field.enum and value not in field.enum:
        raise InvalidAnswerError(f"{field.name} must be one of {', '.join(field.enum)}, got {value!r:.80}")
    if field.minimum is not None and value < field.minimum:
        raise InvalidAnswerError(f"{field.name} must be at least {field.minimum:g}, got {value}")
    if field.maximum is not None and value > field.maximum:
        raise InvalidAnswerError(f"{field.name} must be at most {field.maximum:g}, got {value}")


def _has_type(kind: FormFieldType, value: Any) -> bool:
    match kind:
        case FormFieldType.BOOLEAN:
            return isinstance(value, bool)
        case FormFieldType.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case FormFieldType.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case FormFieldType.LIST:
            return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        case _:
            return isinstance(value, str)
