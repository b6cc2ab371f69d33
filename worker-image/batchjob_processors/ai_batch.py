"""Type ai-batch: a model behind any OpenAI-compatible endpoint fills a form about each item.

The result of an item is its own data with the filled form on top, so that an export of the results shows both, and a
field of ours that says how the answer came about, or that it was known (`cache`). With `itemsPerRequest` several items
go into one request; where the answer about one of them is missing or wrong, the model is asked about that one alone,
and only that one may fail.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from batchjob.api.base import OWN_FIELDS
from batchjob.api.blocks.ai_batch import AiBatch as Block
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context, ErrorClass, Fail, Item, Processor
from batchjob_processors.answers import Answers
from batchjob_processors.chat import Endpoint, Reply
from batchjob_processors.chat_headers import secret_value
from batchjob_processors.form import Form, InvalidAnswerError, find_object
from batchjob_processors.prompt import Message, Prepared, Prompts, many, read_many, repair

REPAIRS: Final = 2  # of an invalid answer in one attempt: who does not get it right by then hardly will
CUT: Final = 300  # characters of an answer in a message
ANSWER: Final = f"{OWN_FIELDS}answer"  # a field of the result that no field of a form can be named like
# A request about several items that fails like this may do so on account of one of them.
_OF_ONE: Final = frozenset({ErrorClass.INVALID_INPUT, ErrorClass.CONTENT_FILTER})


class AiBatch(Processor):
    """Annotates items; the block is `spec.aiBatch`."""

    async def open(self, context: Context) -> None:
        """Make the client; ConfigurationError where the run has no aiBatch block, or one that cannot work."""
        block = context.run.spec.ai_batch
        if block is None:
            raise ConfigurationError("spec.aiBatch is missing")
        self._block = block
        self.call_items = block.items_per_request
        self.chunk_items = block.items_per_request if block.items_per_request > 1 else None
        self._form = _form(block, context)
        self._form_of_many = many(self._form.schema)
        self._prompts = Prompts(block, self._form)
        self._answers = Answers(block, self._form)
        self._endpoint = Endpoint(block.model, _api_key(block, context), context)
        await self._endpoint.check()

    async def process_many(self, items: Sequence[Item], context: Context) -> list[Any]:
        """Ask the model about the items; of each its data and the filled form, or why there is none."""
        answers: dict[int, Any] = {}
        groups = defaultdict[str, list[tuple[Item, Prepared]]](list)
        for item in items:
            try:
                prepared = self._prompts.prepare(item.data)
                if known := await self._known(item, prepared, context):
                    answers[item.position] = known
                else:
                    groups[prepared.instructions].append((item, prepared))
            except Fail as error:
                answers[item.position] = error
        for found in await asyncio.gather(*(self._ask(group, context) for group in groups.values())):
            answers |= found
        return [answers[item.position] for item in items]

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    async def _known(self, item: Item, prepared: Prepared, context: Context) -> dict[str, Any] | None:
        """The result by an answer that was given before."""
        found = await self._answers.find(self._prompts.about(prepared), context)
        if found is None:
            return None
        filled, model = found
        context.usage("requests", 0)  # said, so that its share of the rate is given back
        context.usage("cachedAnswers", 1)
        told = Reply("", is_cut=False, model=model, prompt_tokens=0, completion_tokens=0, seconds=0.0)
        result = _result(item, filled, [told], 1)
        result[ANSWER] |= {"requests": 0, "cached": True}
        return result

    async def _ask(self, group: Sequence[tuple[Item, Prepared]], context: Context) -> dict[int, Any]:
        """Results, or what was raised, by position; the instructions of all are the same."""
        results: dict[int, Any] = {}
        answers: dict[str, Any] = {}
        if len(group) > 1:
            messages = self._prompts.about_many({item.id: said for item, said in group}, self._form_of_many)
            try:
                reply = await self._endpoint.ask(messages, self._form_of_many, context.of(group[0][0]))
                answers = read_many(find_object(reply.text))
            except InvalidAnswerError:
                pass  # then about each alone
            except Exception as error:  # noqa: BLE001 - becomes an outcome of each item
                if getattr(error, "error_class", None) not in _OF_ONE:
                    return dict.fromkeys((item.position for item, _ in group), error)
        wrong: list[tuple[Item, Prepared, list[Message]]] = []
        for item, prepared in group:
            try:
                filled = self._form.check(answers[item.id])
                await self._answers.keep(self._prompts.about(prepared), filled, reply.model, context)
                results[item.position] = _result(item, filled, [reply], len(group))
            except KeyError:
                wrong.append((item, prepared, []))
            except InvalidAnswerError as error:
                wrong.append((item, prepared, repair(json.dumps(answers[item.id]), error)))
        alone = (
            self._fill(item, said, after, REPAIRS if after else 1 + REPAIRS, context.of(item))
            for item, said, after in wrong
        )
        found = await asyncio.gather(*alone, return_exceptions=True)
        return results | {item.position: answer for (item, _, _), answer in zip(wrong, found, strict=True)}

    async def _fill(
        self, item: Item, prepared: Prepared, after: list[Message], tries: int, context: Context
    ) -> dict[str, Any]:
        """The result of an item by itself; `after`: what was said about it already."""
        asked = self._prompts.about(prepared)
        messages = asked + after
        replies: list[Reply] = []
        for _ in range(tries):
            reply = await self._endpoint.ask(messages, self._form.schema, context)
            replies.append(reply)
            try:
                filled = self._form.parse(reply.text)
                await self._answers.keep(asked, filled, reply.model, context)
                return _result(item, filled, replies, 1)
            except InvalidAnswerError as error:
                wrong = error
            if reply.is_cut:
                raise Fail(self._too_short(reply), error_class=ErrorClass.INVALID_ANSWER)
            messages += repair(reply.text, wrong)
        said = f"the model's answer does not fill the form, though it was told twice what was wrong: {wrong}"
        raise Fail(f"{said}; it answered: {reply.text[:CUT]!r}", error_class=ErrorClass.INVALID_ANSWER)

    def _too_short(self, reply: Reply) -> str:
        limit = self._block.model.max_output_tokens
        way_out = f"raise spec.aiBatch.model.maxOutputTokens ({limit})" if limit else "ask for less: that is its limit"
        return (
            f"the model's answer was cut off after {reply.completion_tokens} tokens: {way_out}; "
            f"it answered: {reply.text[:CUT]!r}"
        )


def _result(item: Item, filled: dict[str, Any], replies: Sequence[Reply], items: int) -> dict[str, Any]:
    """The result document. Tokens and seconds are those of the requests, each of them about `items` items."""
    about = {
        "model": replies[-1].model,
        "promptTokens": sum(reply.prompt_tokens for reply in replies),
        "completionTokens": sum(reply.completion_tokens for reply in replies),
        "seconds": round(sum(reply.seconds for reply in replies), 3),
        "requests": len(replies),
        "items": items,
        "attempt": item.attempt,
    }
    return item.data | filled | {ANSWER: about}


def _form(block: Block, context: Context) -> Form:
    if block.form_schema is not None:
        return Form.of_fields(block.form_schema)
    if block.form_schema_ref is None:
        raise ConfigurationError("spec.aiBatch needs formSchema or formSchemaRef")
    name, key = block.form_schema_ref.name, block.form_schema_ref.key
    text = (context.reference(Purpose.FORM) / key).read_bytes().decode("utf-8", "replace")
    return Form.of_document(text, f"spec.aiBatch.formSchemaRef: key {key} of ConfigMap {name}")


def _api_key(block: Block, context: Context) -> str | None:
    reference = block.model.api_key_secret_ref
    if reference is None:
        return None
    said = f"spec.aiBatch.model.apiKeySecretRef: key {reference.key} of Secret {reference.name}"
    return secret_value(context.reference(Purpose.MODEL) / reference.key, said)
