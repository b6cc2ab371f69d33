"""The block of type ai-batch."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, Url, cel
from batchjob.api.blocks.template import Template
from batchjob.api.source import SecretKey

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
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="Sampling temperature; absent: the endpoint's default."
    )
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Most tokens of an answer; absent: the endpoint's default."
    )


class AiBatch(Model):
    """Type ai-batch: a model annotates each item."""

    instructions: Template = Field(
        description="What the model shall do with each item. A template: {{ field }} inserts a field of the item."
    )
    form_schema: FormSchema = Field(description="The form each answer has to fill; an answer that does not is retried.")
    model: ModelEndpoint = Field(description="The endpoint and the model.")
