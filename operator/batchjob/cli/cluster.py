"""The cluster that a command works on: signing in, the names that people write, and refusals in plain words."""

import os
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import ValidationError

from batchjob.cli import interrupts
from batchjob.cli.exits import Refused
from batchjob.cli.options import Place
from batchjob.errors import ApiUnavailable, Forbidden, Invalid, KubernetesError, NotFound
from batchjob.kube import BATCH_JOBS, Kube, Resource, find_files, sign_in

T = TypeVar("T")
LATEST: Final = "@latest"
# What the API server says of a kind that it does not know, and where it knows none of the group.
_UNKNOWN_KIND: Final = re.compile("could not find the requested resource|^404 page not found")
_LISTED_BY: Final = {
    "batchjobs.": "batchjob ls, and with -n in another namespace",
    "batchqueues.": "batchjob queue ls",
    "batchschedules.": "batchjob schedule ls, and with -n in another namespace",
    "namespaces": "kubectl get namespaces",
}


def bare(name: str) -> str:
    """The name in what `-o name` prints: batchjob.batchjob.dev/NAME."""
    return name.rpartition("/")[2]


class Cluster(NamedTuple):
    """A cluster, and the namespace that is meant."""

    kube: Kube
    namespace: str
    everywhere: bool = False

    @property
    def scope(self) -> str | None:
        """Where to list: a namespace, or everywhere."""
        return None if self.everywhere else self.namespace

    async def find(self, name: str, resource: Resource = BATCH_JOBS) -> dict[str, Any]:
        """An object of the namespace by its name, or the newest."""
        if name == LATEST:
            name = await self._newest(resource)
        return await self.kube.get(resource, self.namespace, bare(name))

    async def _newest(self, resource: Resource) -> str:
        found = (await self.kube.list(resource, self.namespace, names_only=True)).items
        if not found:
            raise Refused(f"{LATEST}: there is no {resource.kind} in the namespace {self.namespace}")
        newest = max(found, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))
        return str(newest["metadata"]["name"])


def work(place: Place, doing: Coroutine[Any, Any, T]) -> T:
    """Run what a command does on the cluster; Refused says why it could not."""
    try:
        return interrupts.run(doing)
    except KubernetesError as error:
        raise Refused(in_words(error, place)) from None
    except ValidationError as error:
        raise Refused(f"this version is older than what the cluster has, and cannot read it: {error}") from None


@asynccontextmanager
async def open_cluster(place: Place) -> AsyncIterator[Cluster]:
    """Sign in as the kubeconfig says."""
    context = sign_in(find_files(place.kubeconfig, os.environ), place.context, place.act_as)
    # Strict: what people write is theirs, and a field that the kind does not have is refused.
    async with Kube(context.access, strict=True) as kube:
        yield Cluster(kube, place.namespace or context.namespace, place.everywhere)


def in_words(error: KubernetesError, place: Place) -> str:  # noqa: PLR0911 - one a kind of refusal
    """What the API server's refusal means here, and what to do."""
    said = str(error).strip()
    where = f"the context {place.context}" if place.context else "the current context"
    match error:
        case Forbidden():
            return f"{said}. Ask whoever runs the cluster for a role with that right, or act in another namespace (-n)"
        case NotFound() if _UNKNOWN_KIND.search(said):
            return "the cluster does not know BatchJobs: install the chart batchjob-operator, or choose another context"
        case NotFound():
            command = next((command for kind, command in _LISTED_BY.items() if said.startswith(kind)), "")
            return f"{said}. See what there is with: {command}" if command else said
        case Invalid(causes=causes) if causes:
            return "\n  ".join(["the API server refused it:", *(f"{field}: {why}" for field, why in causes)])
        case ApiUnavailable(status=401):
            return f"the cluster does not take who you are ({said}): sign in again, or choose another context"
        case ApiUnavailable(status=0):
            return f"{said}. Does the cluster of {where} run, and is it reached from here?"
        case _:
            return said


def read_together(found: Any) -> list[dict[str, Any]]:
    """Objects by their age, oldest first, as they are listed."""
    return sorted(found, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))
