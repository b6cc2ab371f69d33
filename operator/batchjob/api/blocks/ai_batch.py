"""The block of type ai-batch."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Key, Model, Name, Url, cel, immutable
from batchjob.api.blocks.template import Template
from batchjob.api.source import Scalar, SecretKey, SecretName

OF_THE_ITEM: Final = "a field named id would take the place of the item's own in its result: name it otherwise"
FieldName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class FormFieldType(StrEnum):
    """What a form field holds."""

    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ENUM = "enum"
    LIST = "list"


class FormField(Model):
    """One field the model has to fill in."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.type != 'enum' || has(self.enum)",
                    "a field of type enum needs its choices: list them in formSchema.fields[].enum",
                    field=".enum",
                ),
                cel(
                    "self.type == 'enum' || !has(self.enum)",
                    "formSchema.fields[].enum lists choices, which a field of type enum alone has: "
                    "remove it, or set type: enum",
                    field=".enum",
                ),
                cel(
                    "!(has(self.minimum) || has(self.maximum)) || self.type in ['number', 'integer']",
                    "minimum and maximum bound fields of type number and integer only",
                    field=".type",
                ),
                cel(
                    "self.name != 'id'",
                    OF_THE_ITEM,
                    field=".name",
                ),
            ]
        }
    )

    name: FieldName = Field(description="Name of the field in the answer.")
    type: FormFieldType = Field(description="What the field holds; a list holds strings.")
    description: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="What the model should put here."
    )
    enum: Annotated[list[Annotated[str, Field(max_length=128)]], Field(min_length=1, max_length=64)] | None = Field(
        None, description="The choices of a field of type enum."
    )
    required: bool = Field(True, description="Whether an answer without this field is invalid.")
    minimum: float | None = Field(None, description="Smallest value of a number or integer.")
    maximum: float | None = Field(None, description="Largest value of a number or integer.")


class FormSchema(Model):
    """The form that each answer has to fill."""

    fields: Annotated[list[FormField], Field(min_length=1, max_length=64)] = Field(
        description="The fields of the form, by name.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


class FormSchemaRef(Model):
    """A key of a ConfigMap in the BatchJob's namespace that holds a JSON Schema."""

    name: Name = Field(description="Name of the ConfigMap, in the namespace of the BatchJob.")
    key: Key = Field(
        description="Key whose value is the JSON Schema, of type object, without references outside of it."
    )


class Example(Model):
    """An item, and the answer that is wanted for it."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.data) != has(self.json)",
                    "an example has either data (a flat map) or json (a JSON object as text): set exactly one",
                )
            ]
        }
    )

    data: Annotated[dict[str, Scalar], Field(max_length=64)] | None = Field(
        None, description="The fields of the item: strings and integers."
    )
    json_text: Annotated[str, Field(max_length=4096)] | None = Field(
        None, alias="json", description="The fields of the item as the text of a JSON object, for nested data."
    )
    answer: Annotated[str, Field(min_length=2, max_length=4096)] = Field(
        description="The answer that is wanted: the text of a JSON object that fills the form."
    )


class RequestHeader(Model):
    """A header of each request."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[-A-Za-z0-9!#$%&'*+.^_`|~]+$")] = Field(
        description="Name of the header.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "!self.matches('(?i)^(authorization|proxy-authorization|cookie|api-key|x-api-key)$')",
                    "whoever may read the object reads model.headers too: put this header into a Secret, and name it "
                    "in model.headersSecretRef",
                ),
                cel(
                    "!self.matches('(?i)^(host|content-.*|transfer-encoding|connection)$')",
                    "this header is the client's own: remove it from model.headers",
                ),
            ]
        },
    )
    value: Annotated[str, Field(max_length=1024, pattern=r"^[ -~]*$")] = Field(
        description="Its value, in visible ASCII."
    )


class Prices(Model):
    """What an endpoint asks for its tokens."""

    input_per_million: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        description="Price of a million tokens of questions."
    )
    output_per_million: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        description="Price of a million tokens of answers."
    )
    currency: Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$")] = Field(
        "USD", description="Currency of both, by its three letters (ISO 4217)."
    )


class ModelEndpoint(Model):
    """An OpenAI-compatible endpoint and how to ask it."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Model to ask, as the endpoint names it."
    )
    base_url: Url = Field(
        "https://api.openai.com/v1",
        description="Base URL of an OpenAI-compatible API, ending before /chat/completions.",
        pattern=r"^https?://",
    )
    api_key_secret_ref: SecretKey | None = Field(
        None, description="Key of a Secret with the API key (the usual key is OPENAI_API_KEY)."
    )
    headers: Annotated[list[RequestHeader], Field(max_length=16)] | None = Field(
        None,
        description="Headers of each request besides the usual ones, such as a project's. Nothing confidential.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    headers_secret_ref: SecretName | None = Field(
        None,
        description="Secret whose keys are headers of each request, for an endpoint that wants its key in another "
        "header than Authorization, such as api-key. They win over the others.",
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="Sampling temperature; absent: the endpoint's default."
    )
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Most tokens of an answer; absent: the endpoint's default."
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Most requests in any minute, together with all BatchJobs that share the rate (spec.rateLimitKey). "
        "A second question about an item, after a wrong answer, is counted once it was asked. Default: no limit but "
        "what the endpoint says.",
    )
    tokens_per_minute: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        None,
        description="Most tokens, of questions and answers, in any minute, shared like requestsPerMinute. An attempt's "
        "tokens are known when it ends: until then the average of its worker counts. Default: no limit but what the "
        "endpoint says.",
    )
    prices: Prices | None = Field(
        None,
        description="What tokens cost: status.usage then has the cost of the run, in millionths of the currency, such "
        "as costMicroUSD.",
    )


class AnswerCache(Model):
    """How long an answer is remembered."""

    ttl_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = Field(
        description="An answer is used again for so long, by every BatchJob of the same owner in this namespace that "
        "asks the same of the same model: what any word of the question, the form or the model's settings changes is "
        "another question. It costs no tokens, and its result says cached: true. At most 2592000, 30 days; "
        "shorter where an owner has 32 MiB of them or all owners 96 MiB: those that would go soonest make room."
    )


class Budget(Model):
    """How much a run may use until somebody decides that it may go on."""

    tokens: Annotated[int, Field(ge=1, le=1_000_000_000_000)] = Field(
        description="Once the run has used so many tokens, of questions and answers, nothing new starts: what is in "
        "flight ends and counts, pods go, and the run is held, reason BudgetExceeded, until spec.resumeToken changes. "
        "Raise it first, for what was used stays used."
    )


_OPTIONAL: Final = ("prompt", "examples", "formSchema", "formSchemaRef", "cache")  # immutable, absence too


class AiBatch(Model):
    """Type ai-batch: a model annotates each item."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.formSchema) != has(self.formSchemaRef)",
                    "spec.aiBatch needs exactly one of formSchema (fields) and formSchemaRef (a JSON Schema in a "
                    "ConfigMap)",
                ),
                *(
                    cel(
                        f"has(self.{name}) == has(oldSelf.{name})",
                        f"spec.aiBatch.{name} is immutable. Delete the BatchJob, or create one with another name.",
                        field=f".{name}",
                    )
                    for name in _OPTIONAL
                ),
            ]
        }
    )

    instructions: Template = Field(
        description="What the model shall do with each item. A template: {{ field }} inserts a field of the item.",
        json_schema_extra=immutable("spec.aiBatch.instructions"),
    )
    prompt: Template | None = Field(
        None,
        description="What the model is told of each item. A template over its data. Default: all of its data, as JSON.",
        json_schema_extra=immutable("spec.aiBatch.prompt"),
    )
    examples: Annotated[list[Example], Field(max_length=16)] | None = Field(
        None,
        description="Items with the answers that are wanted for them, shown to the model before each item. One whose "
        "answer does not fill the form ends the run.",
        json_schema_extra=immutable("spec.aiBatch.examples"),
    )
    form_schema: FormSchema | None = Field(
        None,
        description="The form each answer has to fill. Exactly one of formSchema and formSchemaRef.",
        json_schema_extra=immutable("spec.aiBatch.formSchema"),
    )
    form_schema_ref: FormSchemaRef | None = Field(
        None,
        description="A JSON Schema that each answer has to fit, for forms that nest.",
        json_schema_extra=immutable("spec.aiBatch.formSchemaRef"),
    )
    model: ModelEndpoint = Field(
        description="The endpoint and the model.",
        json_schema_extra=immutable("spec.aiBatch.model"),
    )
    items_per_request: Annotated[int, Field(ge=1, le=50)] = Field(
        1,
        description="Small items that go into one request together, which saves the tokens of the instructions. They "
        "count as so many of spec.concurrency. Where the answer about one of them is missing or wrong, the model is "
        "asked about that one alone. Whoever wrote one of them may sway what is said of the others: leave it at 1 "
        "where items are of people who must not. Default: 1.",
        json_schema_extra=immutable("spec.aiBatch.itemsPerRequest"),
    )
    cache: AnswerCache | None = Field(
        None,
        description="Use answers again that were given before. Default: every item is asked about.",
        json_schema_extra=immutable("spec.aiBatch.cache"),
    )
    budget: Budget | None = Field(
        None, description="How many tokens the run may use. May change at any time. Default: any number."
    )
