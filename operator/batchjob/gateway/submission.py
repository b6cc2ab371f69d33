"""From what somebody sends to the BatchJob that is made of it. Pure.

The body has the fields of a BatchJob's spec, and beside them `name`, `labels` and `items`, which stand for metadata and
spec.source.items. Types and bounds are checked here, by the models; what they leave to the CRD (rules over several
fields, fields that do not exist) the API server finds. Either way a fault points into the body as it was sent.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from batchjob.api.base import API_VERSION
from batchjob.api.queue import BatchQueueSpec
from batchjob.api.source import MAX_INLINE_BYTES
from batchjob.api.v1alpha1 import KIND, BatchJobSpec
from batchjob.errors import Invalid
from batchjob.gateway.bodies import NO_STAGING
from batchjob.gateway.problems import (
    BAD_REQUEST,
    INVALID,
    TOO_LARGE,
    Fault,
    Problem,
    Steps,
    invalid,
    invalid_model,
    pointer,
)

DIGEST: Final = "batchjob.dev/request-sha256"  # annotation: of the spec that was sent, to know it again
PREFIX: Final = (
    "job-"  # of names that nobody chose; of none that says what was asked for, which a key may not say twice
)
KEPT_SECONDS: Final = 604_800  # of a failed one, where spec.retention says nothing: its default
MOST_ITEMS: Final = 1000
MOST_TEXT: Final = 4096  # characters of an item's json, and of each of its texts
MOST_FIELDS: Final = 64
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")  # of Idempotency-Key
_STEP: Final = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


class Staged(NamedTuple):
    """Items that were too many for the object itself, and where they are now."""

    items: int
    bytes: int
    sha256: str
    uri: Mapping[str, Any]  # spec.source.uri
    volume: Mapping[str, Any] | None = None  # of spec.worker.volumes, where that is on a claim


class Submission(NamedTuple):
    """A body, taken apart."""

    spec: BatchJobSpec
    manifest: dict[str, Any]
    owner: str | None  # who is to have it, as the body says; else who was given
    items: int  # that are its own, not those of a source that it names
    bytes: int  # of them

    @property
    def digest(self) -> str:
        """Tells apart two bodies."""
        found: str = self.manifest["metadata"]["annotations"][DIGEST]
        return found


def checked_key(key: str | None) -> str | None:
    """An Idempotency-Key."""
    if key is not None and not _KEY.fullmatch(key):
        raise Problem(
            BAD_REQUEST,
            "Idempotency-Key has to be 1 to 255 visible ASCII characters, such as a UUID",
            faults=[Fault("Idempotency-Key", "is no key", "header")],
        )
    return key


def name_for(who: str, namespace: str, key: str) -> str:
    """The name that follows from an Idempotency-Key: not even a crash between two writes makes two."""
    digest = hashlib.sha256(f"{who}\0{namespace}\0{key}".encode()).hexdigest()
    return f"{PREFIX}{digest[:24]}"


def build_submission(
    body: Mapping[str, Any], who: str | None, namespace: str, name: str, staged: Staged | None = None
) -> Submission:
    """The BatchJob of a body, in a namespace; `name` where it names none. A problem lists what is wrong.

    `who`: its owner where the body says none; None: it has none. `staged`: its items, where these are not in the body.
    """
    spec = {field: value for field, value in body.items() if field not in {"name", "labels", "items"}}
    if ("items" in body or staged) and "source" in body:
        raise invalid(Fault("/source", "stands beside items: give the items, or a source"))
    items, size = 0, 0
    if staged:
        items, size = staged.items, staged.bytes
        spec["source"] = {"uri": {**staged.uri}}
    elif "items" in body:
        spec["source"] = {"items": read_items(body["items"])}
        items, size = len(body["items"]), len(json.dumps(spec["source"], ensure_ascii=False).encode())
        if size > MAX_INLINE_BYTES:
            raise too_large("/items", f"the items have {size} bytes and may have {MAX_INLINE_BYTES}: {NO_STAGING}")
    model = parse_spec(spec, body)
    if model.ttl_seconds_after_finished is None:  # nobody else would ever delete it, and etcd would fill up
        kept = model.retention.failed_seconds if model.retention else KEPT_SECONDS
        spec["ttlSecondsAfterFinished"] = kept
    owner = model.owner or who
    if owner is not None:
        spec["owner"] = owner
    meant = {**spec, "source": staged.sha256} if staged else spec  # each try puts its items elsewhere
    digest = hashlib.sha256(json.dumps([meant, body.get("name"), body.get("labels")], sort_keys=True).encode())
    if staged and staged.volume:
        worker = spec.get("worker") or {}
        spec["worker"] = {**worker, "volumes": [*(worker.get("volumes") or ()), {**staged.volume}]}
    metadata: dict[str, Any] = {"name": body.get("name", name), "annotations": {DIGEST: digest.hexdigest()}}
    metadata |= {"namespace": namespace} | ({"labels": body["labels"]} if "labels" in body else {})
    for field, kind in (("name", str), ("labels", dict)):
        if not isinstance(body.get(field, kind()), kind):
            raise invalid(Fault(f"/{field}", "has to be a text" if kind is str else "has to be an object"))
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
    return Submission(model, manifest, owner, items, size)


def parse_spec(spec: Mapping[str, Any], body: Mapping[str, Any]) -> BatchJobSpec:
    """The spec as the models read it; strict: no text passes for a number, as it does not with the API server."""
    try:
        return BatchJobSpec.model_validate_json(json.dumps(spec), strict=True)
    except ValidationError as error:
        raise invalid_model(error, lambda steps: _pointer(steps, body)) from None


def read_items(items: Any) -> list[Any]:
    """Items as spec.source.items has them: data that is deep or long goes into `json`, as text."""
    if not isinstance(items, list):
        raise invalid(Fault("/items", 'has to be a list of items, such as [{"id": "1", "data": {"text": "…"}}]'))
    if len(items) > MOST_ITEMS:
        raise too_large("/items", f"there are {len(items)} items and may be {MOST_ITEMS}: {NO_STAGING}")
    return [_read_item(item, place) for place, item in enumerate(items)]


def _read_item(item: Any, place: int) -> Any:
    data = item.get("data") if isinstance(item, dict) else None
    if not isinstance(data, dict) or (len(data) <= MOST_FIELDS and all(map(_is_flat, data.values()))):
        return item
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if len(text) > MOST_TEXT:
        raise too_large(f"/items/{place}/data", f"has {len(text)} characters and may have {MOST_TEXT}: {NO_STAGING}")
    return {name: value for name, value in item.items() if name != "data"} | {"json": text}


def _is_flat(value: Any) -> bool:
    """A text that fits or an integer, and no boolean, which Python counts among them."""
    return type(value) is int or (isinstance(value, str) and len(value) <= MOST_TEXT)


def check_queue(submission: Submission, queue: BatchQueueSpec) -> None:
    """What its queue allows, as far as the body itself shows it: the operator and the loader check all of it."""
    name, limits, items, size = submission.spec.queue, queue.limits, submission.items, submission.bytes
    if limits.max_items is not None and items > limits.max_items:
        said = f"there are {items} items, and the queue {name} takes {limits.max_items} (limits.maxItems)"
        raise too_large("/items", said)
    if limits.max_payload_bytes is not None and size > limits.max_payload_bytes:
        said = f"the items have {size} bytes, and the queue {name} takes {limits.max_payload_bytes}"
        raise too_large("/items", f"{said} (limits.maxPayloadBytes)")


def refused(error: Invalid, body: Mapping[str, Any]) -> Problem:
    """What the API server found wrong, with pointers into the body."""
    faults = [Fault(_pointer(_steps(field), body), said) for field, said in error.causes]
    return invalid(*faults) if faults else Problem(INVALID, str(error))


def _steps(field: str) -> Steps:
    """The steps of a path of Kubernetes' own; spec is ours to leave out."""
    found = [inner or step for inner, step in _STEP.findall(field)]
    steps = tuple(int(step) if step.isdecimal() else step for step in found)
    return steps[1:] if steps[:1] in {("spec",), ("metadata",)} else steps


def _pointer(steps: Steps, body: Mapping[str, Any]) -> str:
    if steps[:2] == ("source", "items") and "items" in body:
        steps = steps[1:]
    return pointer(steps)


def too_large(pointer: str, detail: str) -> Problem:
    """413, and what to do instead."""
    return Problem(TOO_LARGE, f"{pointer}: {detail}", faults=[Fault(pointer, detail)])
