"""What the API server says of an object's metadata, which is in no schema of ours: every kind has the same. Pure.

The fields are Kubernetes' ObjectMeta, the forms those of k8s.io/apimachinery's validation. A namespace on a kind that
has none is no fault: the API server drops it before it looks, and tools such as kustomize write one everywhere.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field

from batchjob.api.base import GivenTime, Model
from batchjob.api.crd import Schema, structural

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"  # RFC 1123
_NAMESPACE: Final = re.compile(_LABEL)
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")  # a rule of the CRD forbids the dot, where there must be none
_WORD: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_MOST_OF_LABEL: Final = 63
_MOST_OF_NAME: Final = 253
_MOST_ANNOTATION_BYTES: Final = 256 * 1024  # of all of an object, keys and values

# What to do about it. An error of the API server's shows its regular expressions, which few read with ease.
_LETTERS: Final = "lower case letters a to z, digits and hyphens, the first and the last of them no hyphen"
_WORDS: Final = (
    f"write at most {_MOST_OF_LABEL} letters a to z and A to Z, digits, -, _ and ., the first and the last of them a "
    "letter or a digit"
)
_KEYS: Final = f"{_WORDS}; before it there may be a domain in lower case and a slash, as in example.com/team"

_Given = Annotated[str, Field(min_length=1)]


class _OwnerReference(Model):
    api_version: _Given
    kind: _Given
    name: _Given
    uid: _Given
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class _ManagedFields(Model):
    manager: str | None = None
    operation: str | None = None
    api_version: str | None = None
    time: GivenTime | None = None
    fields_type: str | None = None
    fields_v1: dict[str, Any] | None = Field(None, alias="fieldsV1")
    subresource: str | None = None


class _ObjectMeta(Model):
    # First those that people write: so they are told when one is wrong.
    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None
    generate_name: str | None = None
    finalizers: list[str] | None = None
    owner_references: list[_OwnerReference] | None = None
    creation_timestamp: GivenTime | None = None
    deletion_grace_period_seconds: int | None = None
    deletion_timestamp: GivenTime | None = None
    generation: int | None = None
    managed_fields: list[_ManagedFields] | None = None
    resource_version: str | None = None
    self_link: str | None = None
    uid: str | None = None


class Described(Model):
    """An object of any kind, of which only the metadata are looked at."""

    metadata: _ObjectMeta | None = None


def metadata_schema() -> Schema:
    """The fields of metadata, as a CRD would have them if it had to."""
    schema: Schema = structural(Described)["properties"]["metadata"]
    return schema


def bad_metadata(metadata: Any, *, is_namespaced: bool) -> Iterator[str]:
    """What is wrong with names, labels, annotations and finalizers; of a value of another type nothing is said."""
    if not isinstance(metadata, dict):
        return
    yield from _bad_name(metadata.get("name"))
    if is_namespaced:
        yield from _bad_namespace(metadata.get("namespace"))
    yield from _bad_labels(_entries(metadata, "labels"))
    yield from _bad_annotations(_entries(metadata, "annotations"))
    finalizers = metadata.get("finalizers")
    for place, name in enumerate(finalizers if isinstance(finalizers, list) else ()):
        if isinstance(name, str) and not _is_key(name):
            yield f"metadata.finalizers[{place}]: {name!r:.60} is no name of a finalizer: {_KEYS}"


def _bad_labels(labels: list[tuple[str, Any]]) -> Iterator[str]:
    for key, value in labels:
        if not _is_key(key):
            yield f"metadata.labels: {key!r:.60} is no key of a label: {_KEYS}"
        if isinstance(value, str) and value and not _is_word(value):
            yield f"metadata.labels.{key}: {value!r:.60} is no value of a label: {_WORDS}; an annotation takes any text"


def _bad_annotations(annotations: list[tuple[str, Any]]) -> Iterator[str]:
    for key, _ in annotations:
        if not _is_key(key.lower()):  # of these alone the domain may have capitals
            yield f"metadata.annotations: {key!r:.60} is no key of an annotation: {_KEYS}"
    size = sum(len(text.encode(errors="replace")) for entry in annotations for text in entry if isinstance(text, str))
    if size > _MOST_ANNOTATION_BYTES:
        yield (
            f"metadata.annotations: they have {size} bytes, and may have {_MOST_ANNOTATION_BYTES}: shorten them, or "
            "put them into a ConfigMap"
        )


def _bad_name(name: Any) -> Iterator[str]:
    if isinstance(name, str) and not _NAME.fullmatch(name):
        yield f"metadata.name: {name!r:.60} is no name: {_LETTERS}"
    elif isinstance(name, str) and len(name) > _MOST_OF_NAME:
        yield f"metadata.name: it has {len(name)} characters: choose one of at most {_MOST_OF_NAME}"


def _bad_namespace(name: Any) -> Iterator[str]:
    if isinstance(name, str) and name and not (len(name) <= _MOST_OF_LABEL and _NAMESPACE.fullmatch(name)):
        yield f"metadata.namespace: {name!r:.60} is no name of a namespace: write at most {_MOST_OF_LABEL} {_LETTERS}"


def _entries(metadata: dict[str, Any], field: str) -> list[tuple[str, Any]]:
    """The entries of a map; a key of YAML may be a number, which Kubernetes reads as a text."""
    found = metadata.get(field)
    return [(str(key), value) for key, value in found.items()] if isinstance(found, dict) else []


def _is_key(text: str) -> bool:
    """Whether it is what Kubernetes calls a qualified name."""
    domain, slash, word = text.rpartition("/")
    return _is_word(word) and (not slash or (len(domain) <= _MOST_OF_NAME and _NAME.fullmatch(domain) is not None))


def _is_word(text: str) -> bool:
    return len(text) <= _MOST_OF_LABEL and _WORD.fullmatch(text) is not None
