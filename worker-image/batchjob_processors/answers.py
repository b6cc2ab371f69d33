"""Answers that were given before, for `spec.aiBatch.cache`: an item that was asked about in the same way is not again.

What determines an answer is its key: endpoint, model and how it is asked, the form, and every word of the messages.
Not the API key, for whoever pays is told the same; the cache is the owner's own in any case. A wrong answer is never
kept, and what is found is checked against the form like any other answer.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from batchjob.api.blocks.ai_batch import AiBatch as Block
from batchjob.worker import Context
from batchjob_processors.form import Form, InvalidAnswerError
from batchjob_processors.prompt import Message

VERSION: Final = 1  # of keys and values
VALUE_LIMIT: Final = 65_536  # bytes that the cache takes


class Answers:
    """Answers of one run and of earlier ones."""

    def __init__(self, block: Block, form: Form) -> None:
        """Without `cache` in the block nothing is found and nothing kept."""
        model = block.model
        self._seconds = block.cache.ttl_seconds if block.cache else 0
        self._form = form
        self._asked: dict[str, Any] = {
            "version": VERSION,
            "baseUrl": model.base_url.rstrip("/"),
            "model": model.name,
            "temperature": model.temperature,
            "maxOutputTokens": model.max_output_tokens,
            "headers": {header.name.lower(): header.value for header in model.headers or ()},
            "itemsPerRequest": block.items_per_request,
            "form": form.schema,
        }

    async def find(self, messages: Sequence[Message], context: Context) -> tuple[dict[str, Any], str] | None:
        """The filled form and the name of the model that filled it; None where it is not known."""
        value = await context.cache.get(self._key(messages)) if self._seconds else None
        if value is None:
            return None
        try:
            kept = json.loads(value)
            return self._form.check(kept["answer"]), str(kept["model"])
        # The owner's own processors may write there too.
        except (ValueError, TypeError, KeyError, RecursionError, InvalidAnswerError):
            return None

    async def keep(self, messages: Sequence[Message], filled: dict[str, Any], model: str, context: Context) -> None:
        """Remember an answer that fills the form."""
        if not self._seconds:
            return
        value = json.dumps({"answer": filled, "model": model}).encode()
        if len(value) <= VALUE_LIMIT:
            await context.cache.set(self._key(messages), value, self._seconds)

    def _key(self, messages: Sequence[Message]) -> str:
        said = json.dumps(self._asked | {"messages": list(messages)}, sort_keys=True)
        return f"ai-batch {hashlib.sha256(said.encode()).hexdigest()}"
