"""What the references of a BatchJob cost while one of them is missing."""

from collections import Counter
from typing import Any, cast

from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.controller.manifests import UID_LABEL
from batchjob.controller.references import References
from batchjob.core.reasons import Reason
from batchjob.errors import NotFound
from batchjob.kube import Kube, Resource


class Objects:
    """The Secrets of a namespace by name, and how often each was read."""

    def __init__(self, *names: str) -> None:
        self.there = {name: dict[str, Any](metadata={}, data={"DSN": ""}) for name in names}
        self.read: Counter[str] = Counter()

    async def get(self, _: Resource, namespace: str, name: str) -> dict[str, Any]:
        assert namespace == "team"
        self.read[name] += 1
        if name not in self.there:
            raise NotFound("no", status=404)
        return dict(self.there[name])


def spec(*names: str) -> BatchJobSpec:
    """A spec that names these Secrets, and the first of them twice."""
    sources = [{"secretRef": {"name": name}} for name in (*names, names[0])]
    return BatchJobSpec.model_validate({
        "type": "custom",
        "custom": {"processor": "noop"},
        "source": {"sql": {"dsnSecretRef": {"name": names[0], "key": "DSN"}, "query": "select 1"}},
        "worker": {"envFrom": sources},
    })  # fmt: skip


async def missing(references: References, objects: Objects, wanted: BatchJobSpec) -> str:
    """What is missing, in words."""
    found = await references.find_missing(cast("Kube", objects), "team", wanted)
    return found.message if found else ""


async def test_what_is_there_is_read_once_however_often_it_is_named() -> None:
    objects = Objects("a", "b")
    assert await missing(References(), objects, spec("a", "b")) == ""
    assert objects.read == {"a": 1, "b": 1}


async def test_while_the_last_of_many_is_missing_a_look_costs_one_call() -> None:
    names = [f"s{number}" for number in range(7)]
    objects, references = Objects(*names[:-1]), References()
    for _ in range(5):
        assert "there is no Secret s6" in await missing(references, objects, spec(*names))
    assert objects.read == Counter({"s6": 5} | dict.fromkeys(names[:-1], 1))
    objects.there["s6"] = {"metadata": {}}
    del objects.there["s3"]
    assert "there is no Secret s3" in await missing(references, objects, spec(*names)), "the others are looked at again"
    objects.there["s3"] = {"metadata": {}}
    assert await missing(references, objects, spec(*names)) == ""


async def test_a_key_that_is_missing_is_looked_for_first_too() -> None:
    objects, references = Objects("a", "b"), References()
    objects.there["a"] = {"metadata": {}, "data": {"OTHER": ""}}
    for _ in range(2):
        found = await references.find_missing(cast("Kube", objects), "team", spec("a", "b"))
        assert found is not None
        assert (found.reason, "its keys: OTHER" in found.message) == (Reason.KEY_NOT_FOUND, True)
    assert objects.read == {"a": 2}


async def test_the_secret_of_another_run_is_refused() -> None:
    """It has the credentials of that run in the store."""
    objects = Objects("theirs")
    objects.there["theirs"]["metadata"] = {"labels": {UID_LABEL: "u1"}}
    wanted = BatchJobSpec.model_validate({
        "type": "custom",
        "custom": {"processor": "noop"},
        "source": {"items": [{"id": "a", "data": {}}]},
        "worker": {"envFrom": [{"secretRef": {"name": "theirs"}}]},
    })  # fmt: skip
    found = await References().find_missing(cast("Kube", objects), "team", wanted)
    assert found is not None
    assert (found.reason, found.message) == (
        Reason.NOT_ALLOWED,
        "spec.worker.envFrom[0].secretRef: Secret theirs belongs to a run of a BatchJob. Name another one.",
    )
