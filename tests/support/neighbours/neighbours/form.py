"""Fills a form, given as a JSON Schema, from a text: the stand-in for a language model.

Sentiment comes from the VADER lexicon model (C. Hutto, E. Gilbert, ICWSM 2014), whose agreement with human raters is
published, so that a run's results can be checked against people. Every other field is a function of its name and the
text: the same item always gets the same answer, whatever process asks, and however often.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

NEUTRAL_BELOW: Final = 0.05  # the threshold on the compound score that VADER's authors recommend
SUMMARY_WORDS: Final = 12
LIST_LENGTH: Final = 3
SENTIMENT_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "sentiment": {"enum": ["positive", "neutral", "negative"]},
        "score": {"type": "number", "minimum": -1, "maximum": 1},
    },
}
_analyser: Final = SentimentIntensityAnalyzer()
_decoder: Final = json.JSONDecoder()


class UnsupportedSchemaError(ValueError):
    """The schema uses something that this stand-in cannot answer, such as `$ref`."""


class Reading(NamedTuple):
    """A text and VADER's compound score of it, -1 (negative) … 1 (positive)."""

    text: str
    compound: float

    @property
    def label(self) -> str:
        """The sentiment in a word."""
        if abs(self.compound) < NEUTRAL_BELOW:
            return "neutral"
        return "positive" if self.compound > 0 else "negative"

    def fraction(self, name: str) -> float:
        """A number in [0, 1) that depends on the field's name and the text alone."""
        digest = hashlib.sha256(f"{name}\n{self.text}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


def read(text: str) -> Reading:
    """Read a text once for all the fields of its form."""
    return Reading(text, _analyser.polarity_scores(text)["compound"])


def fill(schema: dict[str, Any], reading: Reading, name: str = "") -> Any:
    """A value that the schema accepts; UnsupportedSchemaError where it says something unknown here."""
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return fill(next((c for c in choices if c.get("type") != "null"), choices[0]), reading, name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return _choose(name, schema["enum"], reading)
    kind = schema.get("type")
    if isinstance(kind, list):  # a nullable field: ["string", "null"]
        kind = next((k for k in kind if k != "null"), "null")
    if kind not in _FILLERS:
        raise UnsupportedSchemaError(f"field {name or '(root)'}: no answer to {json.dumps(schema)[:200]}")
    return _FILLERS[kind](name, schema, reading)


def spoil(schema: dict[str, Any]) -> dict[str, Any]:
    """An answer in JSON that the schema refuses: an object where each plain value should be."""
    return {name: {"wrong": True} for name in schema.get("properties", {})} or {"wrong": True}


@lru_cache(maxsize=64)
def embedded_schema(prompt: str) -> dict[str, Any] | None:
    """The first JSON Schema with properties that stands in a prompt, or None (JSON mode carries no schema)."""
    for start in re.finditer(r"\{", prompt):
        try:
            found, _ = _decoder.raw_decode(prompt, start.start())
        except json.JSONDecodeError:
            continue
        if isinstance(found.get("properties"), dict):
            return {"type": "object", **found}
    return None


def _choose(name: str, options: list[Any], reading: Reading) -> Any:
    options = [option for option in options if option is not None] or options
    by_word = {str(option).lower(): option for option in options}
    if {"positive", "negative"} <= by_word.keys():
        by_sign = "positive" if reading.compound >= 0 else "negative"
        return by_word.get(reading.label, by_word[by_sign])
    return (_mentioned(options, reading.text) or [options[int(reading.fraction(name) * len(options))]])[0]


def _mentioned(options: list[Any], text: str) -> list[Any]:
    words = set(re.findall(r"\w+", text.lower()))
    return [option for option in options if str(option).lower() in words]


def _is_score(name: str) -> bool:
    return "score" in name.lower() or "sentiment" in name.lower()


def _share(name: str, reading: Reading) -> float:
    return (reading.compound + 1) / 2 if _is_score(name) else reading.fraction(name)


def _bounds(schema: dict[str, Any], low: float, high: float) -> tuple[float, float]:
    """The schema's bounds; where one is missing, the default, unless that lies beyond the other."""
    low = schema.get("minimum", min(low, schema.get("maximum", low)))
    return low, schema.get("maximum", max(high, low))


def _number(name: str, schema: dict[str, Any], reading: Reading) -> float:
    low, high = _bounds(schema, -1 if _is_score(name) else 0, 1)
    value = round(low + _share(name, reading) * (high - low), 4)
    return min(max(value, low), high)  # rounding may pass a bound


def _integer(name: str, schema: dict[str, Any], reading: Reading) -> int:
    inward = (("minimum", math.ceil), ("maximum", math.floor))
    low, high = _bounds({bound: whole(schema[bound]) for bound, whole in inward if bound in schema}, 0, 100)
    return round(low + _share(name, reading) * (high - low))


def _boolean(name: str, _: dict[str, Any], reading: Reading) -> bool:
    return reading.fraction(name) < 0.5


def _string(name: str, schema: dict[str, Any], reading: Reading) -> str:
    if "sentiment" in name.lower() or "label" in name.lower():
        return reading.label
    summary = " ".join(reading.text.split()[:SUMMARY_WORDS])
    return summary[: schema.get("maxLength")].ljust(schema.get("minLength", 0), ".")


def _array(name: str, schema: dict[str, Any], reading: Reading) -> list[Any]:
    items, least, most = schema.get("items", {"type": "string"}), schema.get("minItems", 0), schema.get("maxItems")
    if "enum" in items:
        first = _mentioned(items["enum"], reading.text) or [_choose(name, items["enum"], reading)]
        rest = [option for option in items["enum"] if option not in first]
        return (first + rest[: max(0, least - len(first))])[:most]
    words = list(dict.fromkeys(re.findall(r"\w{4,}", reading.text))) or [reading.text]
    length = max(least, min(LIST_LENGTH, len(words)))
    return [fill(items, reading._replace(text=words[n % len(words)]), f"{name}{n}") for n in range(length)][:most]


def _object(_: str, schema: dict[str, Any], reading: Reading) -> dict[str, Any]:
    return {name: fill(field, reading, name) for name, field in schema.get("properties", {}).items()}


_FILLERS: Final[dict[str, Callable[[str, dict[str, Any], Reading], Any]]] = {
    "array": _array,
    "boolean": _boolean,
    "integer": _integer,
    "null": lambda _name, _schema, _reading: None,
    "number": _number,
    "object": _object,
    "string": _string,
}
