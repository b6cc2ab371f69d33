"""What the API server says of a manifest beyond its types: unknown fields, names given twice, the CEL rules. Pure.

It walks the CRD beside the manifest, and what metadata.py knows of metadata. So whatever runs here can be applied to a
cluster, and what is refused there is refused here; of a CEL rule in the same words. What depends on what is in the
cluster, such as its policies and an object of that name, nobody can say without it.
"""

import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from batchjob.api.base import API_VERSION, VALIDATIONS
from batchjob.api.crd import Schema, crd
from batchjob.api.kinds import KINDS
from batchjob.api.v1alpha1 import KIND
from batchjob.core.documents import encode
from batchjob.core.wording import in_words
from batchjob.local.metadata import Described, bad_metadata, metadata_schema

# The library imports its own command line too, which takes longer than all the rest of us: an empty one will do.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
import cel  # noqa: E402

_OF_A_CHANGE: Final = "oldSelf"  # names a rule about changes of an object: here every manifest is new
# The words of k8s.io/apimachinery's resource.Quantity.
_QUANTITY: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?")
_KINDS: Final = {kind.kind: kind for kind in KINDS}
_MAP_KEYS: Final = "x-kubernetes-list-map-keys"


def faults(manifest: dict[str, Any], kind: str) -> list[str]:
    """All that is wrong with an object of a kind, one sentence each, beginning with the field."""
    wrong: list[str] = []
    if manifest.get("apiVersion") != API_VERSION:
        wrong.append(f"apiVersion: write {API_VERSION} (it is {manifest.get('apiVersion')})")
    try:
        wrong += [*_mistyped(manifest, _KINDS[kind].model), *_mistyped(manifest, Described)]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return [*wrong, f"it is no JSON: {error}"]
    return list(dict.fromkeys([*wrong, *complaints(manifest, kind)]))


def _mistyped(manifest: dict[str, Any], model: type[BaseModel]) -> list[str]:
    try:
        # As JSON and strict: no text passes for a number, as it does not with the API server.
        model.model_validate_json(encode(manifest), strict=True)
    except ValidationError as error:
        return [_sentence(one) for one in error.errors(include_url=False)]
    return []


def _sentence(error: Any) -> str:
    steps, said = in_words(error)
    field = ""
    for step in steps:
        field += f"[{step}]" if isinstance(step, int) else f".{step}" if field else step
    return f"{field}: {said}"


def complaints(manifest: dict[str, Any], kind: str = KIND) -> list[str]:
    """What is wrong with an object besides its types, one sentence each, beginning with the field."""
    is_namespaced = _KINDS[kind].scope == "Namespaced"
    wrong = bad_metadata(manifest.get("metadata"), is_namespaced=is_namespaced)
    return [*wrong, *_walk(manifest, _schema_of(kind), "")]


@cache
def _schema_of(kind: str) -> Schema:
    schema: Schema = crd(_KINDS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema | {"properties": schema["properties"] | {"metadata": metadata_schema()}}


def _walk(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        known = schema.get("properties")
        if known is not None:
            yield from (_unknown(name, known, path) for name in value if name not in known)
        others = schema.get("additionalProperties")
        for name, child in value.items():
            below = (known or {}).get(name, others)
            if isinstance(below, dict):
                yield from _walk(child, below, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        yield from _twice(value, schema, path)
        for place, child in enumerate(value):
            yield from _walk(child, schema.get("items", {}), f"{path}[{place}]")
    yield from _broken_rules(value, schema, path)


def _unknown(name: str, known: dict[str, Any], path: str) -> str:
    field = f"{path}.{name}" if path else name
    near = get_close_matches(str(name), known, n=1)  # a key of YAML may be a number
    way_out = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return f"{field}: there is no such field; {way_out}"


def _twice(values: list[Any], schema: Schema, path: str) -> Iterator[str]:
    for key in schema.get(_MAP_KEYS, ()):
        names = [value.get(key) for value in values if isinstance(value, dict)]
        for place, name in enumerate(names):
            if name in names[:place]:
                yield f"{path}[{place}].{key}: {name!r} is there twice"


def _context(value: Any) -> cel.Context:
    context = cel.Context({"self": value})
    # Kubernetes' own
    context.add_function("isQuantity", lambda text: _QUANTITY.fullmatch(str(text)) is not None)
    context.add_function("sum", sum)
    return context


def _broken_rules(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, dict):  # the API server fills in the defaults before it asks the rules
        children = schema.get("properties", {}).items()
        value = {name: child["default"] for name, child in children if "default" in child} | value
    for rule in schema.get(VALIDATIONS, ()):
        if _OF_A_CHANGE in rule["rule"]:
            continue
        try:
            holds = cel.evaluate(rule["rule"], _context(value))
        except (RuntimeError, TypeError, ValueError, LookupError):
            continue  # a field that it reads is missing or of another type, which pydantic says better
        if not holds:
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}".removeprefix(": ")
