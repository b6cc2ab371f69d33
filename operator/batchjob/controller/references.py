"""Is everything there that a run's pods will mount? The first thing that is not, with what to do."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from batchjob.api.run import ParentResults, references
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.controller.manifests import UID_LABEL
from batchjob.controller.observed import Trouble
from batchjob.core.reasons import Reason
from batchjob.errors import NotFound
from batchjob.kube import CLAIMS, CONFIG_MAPS, SECRETS, Kube, Resource

_NOT_FOUND = {
    SECRETS: Reason.SECRET_NOT_FOUND,
    CONFIG_MAPS: Reason.CONFIG_MAP_NOT_FOUND,
    CLAIMS: Reason.CLAIM_NOT_FOUND,
}


class Needed(NamedTuple):
    """An object that has to exist, the key it has to have, and the field that says so."""

    resource: Resource
    name: str
    key: str | None
    field: str


def needed(spec: BatchJobSpec, parent: ParentResults | None = None) -> Iterator[Needed]:
    """Everything that the pods of this spec mount or read their environment from."""
    for reference in references(spec, parent):
        resource = SECRETS if reference.kind == "Secret" else CONFIG_MAPS
        yield Needed(resource, reference.name, reference.key, reference.field)
    if spec.worker is None:
        return
    for number, source in enumerate(spec.worker.env_from or ()):
        field = f"spec.worker.envFrom[{number}]"
        if source.secret_ref:
            yield Needed(SECRETS, source.secret_ref.name, None, f"{field}.secretRef")
        if source.config_map_ref:
            yield Needed(CONFIG_MAPS, source.config_map_ref.name, None, f"{field}.configMapRef")
    for number, claim in enumerate(spec.worker.volumes or ()):
        yield Needed(CLAIMS, claim.claim_name, None, f"spec.worker.volumes[{number}].claimName")


async def find_missing(
    kube: Kube, namespace: str, spec: BatchJobSpec, parent: ParentResults | None = None
) -> Trouble | None:
    """The first reference that cannot be followed; `parent`: where the results that it reads are."""
    for one in needed(spec, parent):
        try:
            found = await kube.get(one.resource, namespace, one.name)
        except NotFound:
            message = f"{one.field}: there is no {one.resource.kind} {one.name} in namespace {namespace}. Create it."
            return Trouble(_NOT_FOUND[one.resource], message)
        if UID_LABEL in (found["metadata"].get("labels") or {}):
            message = f"{one.field}: {one.resource.kind} {one.name} belongs to a run of a BatchJob. Name another one."
            return Trouble(Reason.NOT_ALLOWED, message)
        if one.key is not None and one.key not in _keys(found):
            has = ", ".join(sorted(_keys(found))[:10]) or "none"
            message = f"{one.field}: {one.resource.kind} {one.name} has no key {one.key}; its keys: {has}."
            return Trouble(Reason.KEY_NOT_FOUND, message)
    return None


def _keys(found: dict[str, Any]) -> set[str]:
    return {*(found.get("data") or {}), *(found.get("binaryData") or {})}
