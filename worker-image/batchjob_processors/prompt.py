"""What a model is told: instructions and form, examples, and the item. Pure.

Instructions and form are the system's message, each example an exchange before the item, so that an endpoint that
caches prompts finds the same beginning each time.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from batchjob.api.base import OWN_FIELDS
from batchjob.api.blocks.ai_batch import AiBatch as Block
from batchjob.api.blocks.ai_batch import Example
from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.form import Form, InvalidAnswerError
from batchjob_processors.templates import Templates

FORM_HINT: Final = "Answer with one JSON object that fits this JSON Schema and with nothing else:\n"
REPAIR: Final = (
    "Your answer does not fit the JSON Schema: {wrong}. Answer again, with one JSON object that fits and nothing else."
)

MANY_HINT: Final = (
    'You are given several items, {"items": [{"id": ..., "item": ...}]}. They have nothing to do with each other: '
    "judge each by itself, and give one entry of answers for each, with its id."
)

Message = dict[str, str]
Said = str | dict[str, Any]  # what the prompt makes of an item, or its data


class Prepared(NamedTuple):
    """What is said about one item."""

    instructions: str
    said: Said


class Prompts:
    """The messages of one run."""

    def __init__(self, block: Block, form: Form) -> None:
        """Compile the templates; ConfigurationError where one, or an example, cannot work."""
        sources = {"instructions": block.instructions, "prompt": block.prompt}
        self._templates = Templates("spec.aiBatch", **{name: text for name, text in sources.items() if text})
        self._has_prompt = bool(block.prompt)
        self._form = form
        self._examples = [
            self._shown(example, f"spec.aiBatch.examples[{number}]")
            for number, example in enumerate(block.examples or ())
        ]

    def prepare(self, data: dict[str, Any]) -> Prepared:
        """What is said about an item; raises Fail (invalid-input) where a template cannot be rendered for it."""
        return Prepared(self._templates.render("instructions", data), self._said(data))

    def about(self, item: Prepared) -> list[Message]:
        """The messages about one item."""
        shown = [message for said, answer in self._examples for message in _exchange(_text(said), answer)]
        return [self._system(item.instructions, self._form.schema), *shown, _message("user", _text(item.said))]

    def about_many(self, items: Mapping[str, Prepared], schema: dict[str, Any]) -> list[Message]:
        """The messages about several items of the same instructions, by id; `schema` is `many(…)` of the form's."""
        instructions = next(iter(items.values())).instructions
        shown = []
        if self._examples:
            examples = {f"example-{number}": example for number, example in enumerate(self._examples)}
            answers = [{"id": name, "answer": answer} for name, (_, answer) in examples.items()]
            shown = _exchange(_listed({name: said for name, (said, _) in examples.items()}), {"answers": answers})
        asked = _message("user", _listed({name: item.said for name, item in items.items()}))
        return [self._system(f"{instructions}\n\n{MANY_HINT}", schema), *shown, asked]

    def _system(self, instructions: str, schema: dict[str, Any]) -> Message:
        return _message("system", f"{instructions}\n\n{FORM_HINT}{_text(schema)}")

    def _said(self, data: dict[str, Any]) -> Said:
        if self._has_prompt:
            return self._templates.render("prompt", data)
        return {name: value for name, value in data.items() if not name.startswith(OWN_FIELDS)}

    def _shown(self, example: Example, field: str) -> tuple[Said, dict[str, Any]]:
        data: Any = example.data
        try:
            if example.json_text is not None:
                data = json.loads(example.json_text)
            if not isinstance(data, dict):
                raise ConfigurationError(f"{field}.json must be the text of a JSON object")
            answer = self._form.check(json.loads(example.answer))
            return self._said(data), answer
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{field} is not JSON: {error}") from None
        except InvalidAnswerError as error:
            raise ConfigurationError(f"{field}.answer does not fill the form: {error}") from None
        except Fail as error:
            raise ConfigurationError(f"{field}: {error}") from None


def repair(answer: str, wrong: object) -> list[Message]:
    """What is said after an answer that was wrong; the answer itself where there was one."""
    said = [_message("assistant", answer)] if answer else []
    return [*said, _message("user", REPAIR.format(wrong=wrong))]


def many(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of answers about several items, from that of one."""
    # What a `$ref` leads to has its place at the root.
    shared: dict[str, Any] = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    of_one = {name: value for name, value in schema.items() if name not in shared}
    answer = {
        "type": "object",
        "properties": {"id": {"type": "string"}, "answer": of_one},
        "required": ["id", "answer"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": answer}},
        "required": ["answers"],
        "additionalProperties": False,
        **shared,
    }


def read_many(answer: Any) -> dict[str, Any]:
    """Answers by id, as far as there are any: of two about one item, the last."""
    answers = answer.get("answers") if isinstance(answer, dict) else None
    return {
        str(entry["id"]): entry["answer"]
        for entry in (answers if isinstance(answers, list) else ())
        if isinstance(entry, dict) and {"id", "answer"} <= entry.keys()
    }


def _listed(said: Mapping[str, Said]) -> str:
    return _text({"items": [{"id": name, "item": item} for name, item in said.items()]})


def _text(said: Said) -> str:
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def _exchange(said: str, answer: dict[str, Any]) -> list[Message]:
    return [_message("user", said), _message("assistant", _text(answer))]


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
