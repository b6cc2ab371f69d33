"""The parameters of a processor of one's own, read as its own pydantic model."""

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from batchjob.errors import ConfigurationError

FIELD: Final = "spec.custom.params"
SHOWN: Final = 5  # errors told at once

Params = TypeVar("Params", bound=BaseModel)


def read_params(params: Mapping[str, str], model: type[Params]) -> Params:
    """The parameters as this model, which makes numbers and the like of their text.

    ConfigurationError names each that does not fit, and each that the model does not know: one with a typing error
    would have no effect, and nobody would notice. A model with `extra="allow"` knows all.
    """
    known = {name for field in model.model_fields.items() for name in _names(*field)}
    known |= set(model.model_fields) if model.model_config.get("populate_by_name") else set()
    unknown = [] if model.model_config.get("extra") == "allow" else sorted(params.keys() - known)
    wrong = []
    if unknown:
        there_are = ", ".join(sorted(known)) or "none"
        wrong.append(f"{FIELD}: this processor has no {', '.join(unknown[:SHOWN])}; what it has: {there_are}")
    try:
        found = model.model_validate({name: text for name, text in params.items() if name not in unknown})
    except ValidationError as error:
        wrong += [f"{'.'.join([FIELD, *map(str, e['loc'])])}: {_said(e['msg'], e['input'])}" for e in error.errors()]
    if not wrong:
        return found
    raise ConfigurationError("; ".join(wrong[:SHOWN]))


def _names(name: str, field: FieldInfo) -> Iterator[str]:
    """What a field may be called among the parameters."""
    alias = field.validation_alias or name
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, str):
            yield choice


def _said(message: str, given: object) -> str:
    words = message[:1].lower() + message[1:]
    return f"{words}, not {given!r}" if isinstance(given, str) else words
