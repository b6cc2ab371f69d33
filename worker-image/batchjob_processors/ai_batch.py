"""Type ai-batch: a model behind any OpenAI-compatible endpoint fills a form about each item.

The result of an item is its own data with the filled form on top, so that an export of the results shows both.
"""

from typing import Any, Final

from batchjob.api.blocks.ai_batch import AiBatch as Block
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context, ErrorClass, Fail, Item, Processor
from batchjob_processors.chat import Endpoint, Reply
from batchjob_processors.form import Form, InvalidAnswerError
from batchjob_processors.prompt import Prompts, repair

REPAIRS: Final = 2  # of an invalid answer in one attempt: who does not get it right by then hardly will
CUT: Final = 300  # characters of an answer in a message


class AiBatch(Processor):
    """Annotates items; the block is `spec.aiBatch`."""

    async def open(self, context: Context) -> None:
        """Make the client; ConfigurationError where the run has no aiBatch block, or one that cannot work."""
        block = context.run.spec.ai_batch
        if block is None:
            raise ConfigurationError("spec.aiBatch is missing")
        self._block = block
        self._form = _form(block, context)
        self._prompts = Prompts(block, self._form)
        self._endpoint = Endpoint(block.model, _api_key(block, context), context)
        await self._endpoint.check()

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        """Ask the model about one item; returns the item's data and the filled form."""
        messages = self._prompts.about(item.data)
        for _ in range(1 + REPAIRS):
            reply = await self._endpoint.ask(messages, self._form.schema, context)
            try:
                return item.data | self._form.parse(reply.text)
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

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


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
    return (context.reference(Purpose.MODEL) / reference.key).read_text().strip()
