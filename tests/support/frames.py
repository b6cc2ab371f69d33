"""Holds live events that were really sent against the AsyncAPI document, which has every field of them."""

import json
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError

from batchjob.gateway.live_description import build

Json = dict[str, Any]


def _read() -> dict[str, Draft202012Validator]:
    """A validator for each type; of what is no longer open to fields that nobody named."""
    document = build()
    found = {}
    for message in document["components"]["messages"].values():
        if "name" in message:
            payload: Json = {**message["payload"], "additionalProperties": False}
            data = {**payload["properties"]["data"], "unevaluatedProperties": False}
            payload["properties"] = payload["properties"] | {"data": data}
            found[message["name"]] = Draft202012Validator(payload | {"components": document["components"]})
    return found


_VALIDATORS: Final = _read()


def check_frame(text: str) -> Json:
    """The event; an AssertionError where it is none that is described."""
    event: Json = json.loads(text)
    assert event["type"] in _VALIDATORS, f"{event['type']} is not described"
    try:
        _VALIDATORS[event["type"]].validate(event)
    except ValidationError as error:
        raise AssertionError(f"{text}: {error.message}") from None
    return event
