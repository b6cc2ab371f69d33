"""Forms: the JSON Schema that a model is asked to fill, and the check of what it answered. Pure.

A form is a JSON Schema, written by the user or made of `formSchema.fields`, so that one validator checks both, and
what a model is told about a wrong answer is about the schema that it was shown.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NoReturn

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from batchjob.api.blocks.ai_batch import OF_THE_ITEM, FormField, FormFieldType, FormSchema
from batchjob.worker import ConfigurationError
from batchjob_processors.cpu_time import OvertimeError, limit_cpu

REMARKS: Final = 5  # on one answer: what else is wrong shows once these are mended
REMARK_LENGTH: Final = 160  # characters: a remark quotes the value
STARTS: Final = 100  # braces at which no JSON begins, before a text counts as one that holds none
CUT: Final = 80  # characters of an answer in a message
LESS: Final = "simplify a pattern that begins again at every character, or ask for less"
CHECK_SECONDS: Final = 5.0  # of computing, for one answer: the longest of today take one; others wait meanwhile

_TYPES: Final[dict[FormFieldType, dict[str, Any]]] = {
    FormFieldType.STRING: {"type": "string"},
    FormFieldType.NUMBER: {"type": "number"},
    FormFieldType.INTEGER: {"type": "integer"},
    FormFieldType.BOOLEAN: {"type": "boolean"},
    FormFieldType.ENUM: {"type": "string"},
    FormFieldType.LIST: {"type": "array", "items": {"type": "string"}},
}


class InvalidAnswerError(Exception):
    """The answer does not fill the form; the message names the fields and what was wrong."""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_decoder: Final = json.JSONDecoder(parse_constant=_refuse)  # NaN, which no result may hold


class Form:
    """What to fill; `schema` is the JSON Schema of an object that the model is shown."""

    def __init__(self, schema: dict[str, Any], fields: list[FormField] | None = None) -> None:
        """`fields`: of a `formSchema`; what an answer has besides is left out, and null means absent."""
        self.schema = schema
        self._fields = fields
        # A registry of its own: the default one would fetch a `$ref` from the web.
        self._validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())

    @classmethod
    def of_fields(cls, form: FormSchema) -> "Form":
        """The form of an object with exactly these fields.

        Structured output demands that every property is required, so an optional field allows null instead.
        """
        schema = {
            "type": "object",
            "properties": {field.name: _property(field) for field in form.fields},
            "required": [field.name for field in form.fields],
            "additionalProperties": False,
        }
        return cls(schema, form.fields)

    @classmethod
    def of_document(cls, text: str, field: str) -> "Form":
        """The form that a JSON Schema is; ConfigurationError, which names `field`, for a text that is none."""
        try:
            schema = _decoder.decode(text)
            if not isinstance(schema, dict) or schema.get("type") != "object":
                raise ConfigurationError(f"{field} must be a JSON Schema with type: object, for an answer has fields")
            validator_for(schema, default=Draft202012Validator).check_schema(schema)
            _check_references(schema)
            if "id" in schema.get("properties", {}):
                raise ConfigurationError(f"{field}: {OF_THE_ITEM}")
            form = cls(schema)
            with limit_cpu(CHECK_SECONDS):
                form._validator.is_valid({})  # a `$ref` that leads back to itself shows here
        except ValueError as error:
            raise ConfigurationError(f"{field} is not JSON: {error}") from None
        except SchemaError as error:
            where = f" at {error.json_path}" if error.absolute_path else ""
            raise ConfigurationError(f"{field} is no JSON Schema{where}: {error.message:.{REMARK_LENGTH}}") from None
        except Unresolvable as error:
            raise ConfigurationError(
                f"{field}: there is nothing at $ref {error.ref!r}: it has to lead to a place within the schema, such "
                "as #/$defs/name"
            ) from None
        except RecursionError:
            raise ConfigurationError(f"{field} is nested too deeply, or a $ref leads back to itself") from None
        except OvertimeError:
            raise ConfigurationError(f"{field}: to check {{}} by it takes more than {CHECK_SECONDS:.0f} s") from None
        return form

    def parse(self, text: str) -> dict[str, Any]:
        """The filled form in a model's answer; InvalidAnswerError where it holds none."""
        return self.check(find_object(text))

    def check(self, answer: Any) -> dict[str, Any]:
        """The filled form that an answer is: of `fields` those that are not null. InvalidAnswerError else."""
        if not isinstance(answer, dict):
            raise InvalidAnswerError(f"the answer is not a JSON object: {json.dumps(answer):.{CUT}}")
        if self._fields is not None:
            answer = {
                field.name: answer.get(field.name)
                for field in self._fields
                if field.name in answer or not field.required
            }
        try:
            with limit_cpu(CHECK_SECONDS):
                errors = list(islice(self._validator.iter_errors(answer), REMARKS))
                json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
        except OvertimeError:
            raise InvalidAnswerError(f"the answer takes more than {CHECK_SECONDS:.0f} s to check: {LESS}") from None
        except RecursionError:
            raise InvalidAnswerError("the answer is nested too deeply") from None
        except (ValueError, OverflowError):  # what JSON's grammar allows and no result may hold, or nobody can divide
            raise InvalidAnswerError("a number is too large, or a text holds half of a surrogate pair") from None
        if errors:
            raise InvalidAnswerError("; ".join(map(_remark, errors)))
        return answer if self._fields is None else {name: value for name, value in answer.items() if value is not None}


def find_object(text: str) -> Any:
    """The JSON of an answer: alone, in a fence, or among words, of several the last, for thoughts come first.

    Raises InvalidAnswerError where there is none.
    """
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise InvalidAnswerError("the answer is nested too deeply") from None
    except ValueError:
        found = None
    try:
        with limit_cpu(CHECK_SECONDS):
            for found in _objects(text):  # noqa: B007 - the last one is what is looked for
                pass
    except OvertimeError:
        raise InvalidAnswerError(f"the answer is not JSON, and holds too much to look for it: {text[:CUT]!r}") from None
    if found is None:
        raise InvalidAnswerError(f"the answer is not JSON: {text[:CUT]!r}")
    return found


def _objects(text: str) -> Iterator[Any]:
    at, misses = text.find("{"), 0
    while at >= 0 and misses < STARTS:
        try:
            document, at = _decoder.raw_decode(text, at)
            yield document
        except (ValueError, RecursionError):
            misses, at = misses + 1, at + 1
        at = text.find("{", at)


def _property(field: FormField) -> dict[str, Any]:
    schema = dict(_TYPES[field.type])
    bounds = {"minimum": field.minimum, "maximum": field.maximum, "enum": field.enum, "description": field.description}
    schema |= {name: value for name, value in bounds.items() if value is not None}
    if not field.required:
        schema["type"] = [schema["type"], "null"]
        if field.enum:
            schema["enum"] = [*field.enum, None]
    return schema


def _remark(error: ValidationError) -> str:
    where = error.json_path.removeprefix("$").removeprefix(".")
    return f"{where}: {error.message:.{REMARK_LENGTH}}" if where else f"{error.message:.{REMARK_LENGTH}}"


def _check_references(schema: dict[str, Any]) -> None:
    """Follow each `$ref`: a validator would only when an answer leads there. Raises Unresolvable."""
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    places: list[Any] = [schema]
    while places:
        match places.pop():
            case dict() as place:
                for kind in ("$ref", "$dynamicRef"):
                    if isinstance(reference := place.get(kind), str):
                        resolver.lookup(reference)
                places += place.values()
            case list() as place:
                places += place
