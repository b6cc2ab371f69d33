"""The documents of the API (OpenAPI and AsyncAPI) as a page has them. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = Mapping[str, Any]

_BOUNDS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "{} characters or more",
    "maxLength": "{} characters at most",
    "minItems": "{} or more",
    "maxItems": "{} at most",
    "pattern": "as {}",
}


@dataclass(frozen=True)
class Shape:
    """What a value is: words, around the name of a schema if it is one (`before` and `after` it)."""

    before: str
    name: str = ""
    after: str = ""


@dataclass(frozen=True)
class Field:
    """A field of a schema, or a parameter of an operation."""

    name: str
    shape: Shape
    required: bool
    said: str
    place: str = ""


@dataclass(frozen=True)
class Example:
    """An example, as text."""

    name: str
    text: str


@dataclass(frozen=True)
class Answer:
    """What an operation answers with one status, or what it is sent."""

    status: str
    said: str
    media_type: str
    shape: Shape | None
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Operation:
    """A method of a path."""

    anchor: str
    method: str
    path: str
    said: tuple[str, ...]  # paragraphs
    parameters: tuple[Field, ...]
    body: Answer | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Group:
    """Operations that belong together."""

    name: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Schema:
    """A named shape."""

    name: str
    said: str
    values: tuple[str, ...]
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Message:
    """A live event."""

    name: str
    said: str
    example: str


@dataclass(frozen=True)
class Channel:
    """Where live events come from."""

    name: str
    address: str
    said: str
    messages: tuple[str, ...]


def build_groups(document: Json) -> tuple[Group, ...]:
    """The operations of an OpenAPI document, by their tag."""
    found: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            made = _operation(document, method, path, operation)
            found.setdefault(operation["tags"][0], []).append(made)
    return tuple(Group(name, tuple(operations)) for name, operations in found.items())


def _operation(document: Json, method: str, path: str, operation: Json) -> Operation:
    parameters = (
        Field(one["name"], shape(one["schema"]), one.get("required", False), one.get("description", ""), one["in"])
        for one in operation.get("parameters", ())
    )
    body = operation.get("requestBody")
    sent = _answer(document, "", {"description": "", **body}) if body else None
    answers = (_answer(document, status, answer) for status, answer in operation["responses"].items())
    paragraphs = tuple(" ".join(part.split()) for part in operation["description"].split("\n\n"))
    return Operation(anchor_of(method, path), method.upper(), path, paragraphs, tuple(parameters), sent, tuple(answers))


def anchor_of(method: str, path: str) -> str:
    """The place of an operation on the page: stays as long as the path does."""
    return f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}"


def _answer(document: Json, status: str, answer: Json) -> Answer:
    for media_type, content in answer.get("content", {}).items():
        named = {
            name: document["components"]["examples"][one["$ref"].rpartition("/")[2]]["value"]
            for name, one in content.get("examples", {}).items()
        }
        examples = named or ({"": content["example"]} if "example" in content else {})
        texts = (Example(name, as_text(value)) for name, value in examples.items())
        return Answer(status, answer["description"], media_type, shape(content.get("schema", {})), tuple(texts))
    return Answer(status, answer["description"], "", None, ())


def as_text(value: Any) -> str:
    """An example as people read it."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def build_schemas(document: Json) -> tuple[Schema, ...]:
    """The named shapes of an OpenAPI document, by name."""
    return tuple(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))


def _schema(name: str, schema: Json) -> Schema:
    needed = schema.get("required", ())
    fields = [
        Field(field, shape(one), field in needed, one.get("description", "")) for field, one in _properties(schema)
    ]
    values = tuple(map(str, schema.get("enum", ())))
    return Schema(name, schema.get("description", ""), values, tuple(fields))


def _properties(schema: Json) -> list[tuple[str, Json]]:
    """Its fields; those that it has from another one stand before them as one."""
    others = [("all fields of", part) for part in schema.get("allOf", ())]
    return [*others, *schema.get("properties", {}).items()]


def shape(schema: Json) -> Shape:
    """What a value is, in words."""
    if "$ref" in schema:
        return Shape("", schema["$ref"].rpartition("/")[2])
    if len(schema.get("allOf", ())) == 1:
        return shape(schema["allOf"][0])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _one_of(choices)
    if values := [schema["const"]] if "const" in schema else schema.get("enum"):
        return Shape(("one of " if len(values) > 1 else "") + ", ".join(map(str, values)))
    kinds = schema.get("type", "any JSON")
    kind = kinds if isinstance(kinds, str) else " or ".join(kinds)
    bounds = "".join(f", {words.format(schema[name])}" for name, words in _BOUNDS.items() if name in schema)
    inner = schema.get("items") if kind == "array" else schema.get("additionalProperties")
    if isinstance(inner, Mapping) and inner:
        below = shape(inner)
        return Shape(f"{'list' if kind == 'array' else 'map'} of {below.before}", below.name, below.after + bounds)
    return Shape({"array": "list"}.get(kind, kind) + bounds)


def _one_of(choices: list[Json]) -> Shape:
    shapes = [shape(one) for one in choices if one.get("type") != "null"]
    after = " or null" if len(shapes) < len(choices) else ""
    if len(shapes) == 1:
        return Shape(shapes[0].before, shapes[0].name, shapes[0].after + after)
    return Shape(" or ".join(one.before + one.name + one.after for one in shapes) + after)


def build_messages(document: Json) -> tuple[Message, ...]:
    """The messages of an AsyncAPI document."""
    found = document["components"]["messages"].values()
    return tuple(Message(one["title"], one["summary"], as_text(one["examples"][0]["payload"])) for one in found)


def build_channels(document: Json) -> tuple[Channel, ...]:
    """Its channels."""
    titles = {name: one["title"] for name, one in document["components"]["messages"].items()}
    return tuple(
        Channel(one["title"], one["address"], one["description"], tuple(titles[name] for name in one["messages"]))
        for one in document["channels"].values()
    )
