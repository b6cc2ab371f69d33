"""What a model is told: instructions and form, examples, and the item. Pure.

Instructions and form are the system's message, each example an exchange before the item, so that an endpoint that
caches prompts finds the same beginning each time.
"""

import json
from typing import Any, Final

from batchjob.api.base import GROUP
from batchjob.api.blocks.ai_batch import AiBatch as Block
from batchjob.api.blocks.ai_batch import Example
from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.form import Form, InvalidAnswerError
from batchjob_processors.templates import Templates

OURS: Final = f"{GROUP}/"  # begins the names of fields that BatchJob adds to a result
FORM_HINT: Final = "Answer with one JSON object that fits this JSON Schema and with nothing else:\n"
REPAIR: Final = (
    "Your answer does not fit the JSON Schema: {wrong}. Answer again, with one JSON object that fits and nothing else."
)

Message = dict[str, str]


class Prompts:
    """The messages of one run."""

    def __init__(self, block: Block, form: Form) -> None:
        """Compile the templates; ConfigurationError where one, or an example, cannot work."""
        sources = {"instructions": block.instructions, "prompt": block.prompt}
        self._templates = Templates("spec.aiBatch", **{name: text for name, text in sources.items() if text})
        self._has_prompt = bool(block.prompt)
        self._form = form
        self._examples: list[Message] = []
        for number, example in enumerate(block.examples or ()):
            self._examples += self._shown(example, f"spec.aiBatch.examples[{number}]")

    def about(self, data: dict[str, Any]) -> list[Message]:
        """The messages about one item; raises Fail (invalid-input) where a template cannot be rendered for it."""
        instructions = self._templates.render("instructions", data)
        system = f"{instructions}\n\n{FORM_HINT}{json.dumps(self._form.schema, ensure_ascii=False)}"
        return [_message("system", system), *self._examples, _message("user", self._said(data))]

    def _said(self, data: dict[str, Any]) -> str:
        """What is said of an item."""
        if self._has_prompt:
            return self._templates.render("prompt", data)
        return json.dumps(
            {name: value for name, value in data.items() if not name.startswith(OURS)}, ensure_ascii=False
        )

    def _shown(self, example: Example, field: str) -> list[Message]:
        data: Any = example.data
        try:
            if example.json_text is not None:
                data = json.loads(example.json_text)
            if not isinstance(data, dict):
                raise ConfigurationError(f"{field}.json must be the text of a JSON object")
            answer = self._form.check(json.loads(example.answer))
            said = self._said(data)
        except ValueError as error:
            raise ConfigurationError(f"{field} is not JSON: {error}") from None
        except InvalidAnswerError as error:
            raise ConfigurationError(f"{field}.answer does not fill the form: {error}") from None
        except Fail as error:
            raise ConfigurationError(f"{field}: {error}") from None
        return [_message("user", said), _message("assistant", json.dumps(answer, ensure_ascii=False))]


def repair(answer: str, wrong: object) -> list[Message]:
    """What is said after an answer that was wrong; the answer itself where there was one."""
    said = [_message("assistant", answer)] if answer else []
    return [*said, _message("user", REPAIR.format(wrong=wrong))]


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
