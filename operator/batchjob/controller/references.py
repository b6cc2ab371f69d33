"""Is everything there that a run's pods will mount? One thing that is not, with what to do."""

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


class References:
    """The references of one BatchJob, looked at again and again until all can be followed.

    What could not be followed is asked for first: while it cannot, a look costs one call, however many there are.
    """

    def __init__(self) -> None:
        self._broken: Needed | None = None

    async def find_missing(
        self, kube: Kube, namespace: str, spec: BatchJobSpec, parent: ParentResults | None = None
    ) -> Trouble | None:
        """A reference that cannot be followed; `parent`: where the results that it reads are."""
        read: dict[tuple[Resource, str], dict[str, Any] | None] = {}
        for one in sorted(needed(spec, parent), key=lambda one: one != self._broken):
            place = one.resource, one.name
            if place not in read:
                read[place] = await _find(kube, namespace, one)
            if trouble := _trouble(one, namespace, read[place]):
                self._broken = one
                return trouble
        self._broken = None
        return None


async def _find(kube: Kube, namespace: str, one: Needed) -> dict[str, Any] | None:
    try:
        return await kube.get(one.resource, namespace, one.name)
    except NotFound:
        return None


def _trouble(one: Needed, namespace: str, found: dict[str, Any] | None) -> Trouble | None:
    what = f"{one.resource.kind} {one.name}"
    if found is None:
        message = f"{one.field}: there is no {what} in namespace {namespace}. Create it."
        return Trouble(_NOT_FOUND[one.resource], message)
    if UID_LABEL in (found["metadata"].get("labels") or {}):
        message = f"{one.field}: {what} belongs to a run of a BatchJob. Name another one."
        return Trouble(Reason.NOT_ALLOWED, message)
    if one.key is not None and one.key not in _keys(found):
        has = ", ".join(sorted(_keys(found))[:10]) or "none"
        return Trouble(Reason.KEY_NOT_FOUND, f"{one.field}: {what} has no key {one.key}; its keys: {has}.")
    return None


def _keys(found: dict[str, Any]) -> set[str]:
    return {*(found.get("data") or {}), *(found.get("binaryData") or {})}
