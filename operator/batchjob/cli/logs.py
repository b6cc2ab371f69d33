"""`batchjob logs`: what the workers of a BatchJob wrote, or what they wrote about one item."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from batchjob.cli.exits import Refused
from batchjob.cli.options import Place, name, placed
from batchjob.cli.rights import in_words

if TYPE_CHECKING:
    from batchjob.api.v1alpha1 import BatchJob
    from batchjob.cli.cluster import Cluster

LOOK_SECONDS: Final = 2.0  # between two looks for new pods


class _Wanted(NamedTuple):
    """Which lines."""

    item: str | None
    slot: int | None
    tail: int
    prefix: bool


@click.command(epilog=in_words("logs"))
@name
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, in new pods too, until it has ended.")
@click.option("--item", metavar="ID", help="Only lines about this item.")
@click.option("--slot", type=click.IntRange(min=0), help="Only the worker of this slot.")
@click.option("--tail", type=click.IntRange(min=1), default=1000, show_default=True, help="The last lines of each pod.")
@click.option("--prefix", is_flag=True, help="Begin each line with the name of its pod.")
@placed
def logs(place: Place, name: str, *, follow: bool, item: str | None, slot: int | None, tail: int, prefix: bool) -> None:
    """Logs of the worker pods of a BatchJob, pod by pod: a JSON object a line, with the item that it is about.

    They are there as long as the pods are (spec.retention). With --follow the lines of all pods come as they are
    written.
    """
    from batchjob.cli.cluster import work

    wanted = _Wanted(item, slot, tail, prefix)
    return work(place, _follow(place, name, wanted) if follow else _logs(place, name, wanted))


async def _logs(place: Place, name: str, wanted: _Wanted) -> None:
    from batchjob.api.v1alpha1 import BatchJob
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import note
    from batchjob.cli.pods import CONTAINER
    from batchjob.errors import Invalid, NotFound

    async with open_cluster(place) as cluster:
        job = BatchJob.parse(await cluster.find(name))
        pods = await _pods(cluster, job, wanted.slot)
        if not pods:
            of_slot = "" if wanted.slot is None else f" of slot {wanted.slot}"
            raise Refused(
                f"{job.metadata.name} has no pods{of_slot}: it has not begun, or they were removed after its end "
                "(spec.retention)"
            )
        for pod in pods:
            try:
                text = await cluster.kube.log(cluster.namespace, pod, CONTAINER, wanted.tail)
            except (Invalid, NotFound) as error:
                note(f"{pod}: there is no log yet: {error}")
                continue
            for line in _about(text, wanted.item):
                _write(f"{pod}: {line}" if wanted.prefix else line)


async def _follow(place: Place, name: str, wanted: _Wanted) -> None:
    """Until the BatchJob has ended, and the logs of its pods with it."""
    import asyncio

    from batchjob.api.v1alpha1 import BatchJob
    from batchjob.cli.cluster import open_cluster
    from batchjob.core.phases import is_terminal

    followed: dict[str, asyncio.Task[bool]] = {}
    async with open_cluster(place) as cluster:
        name = BatchJob.parse(await cluster.find(name)).metadata.name  # @latest is that of now
        try:
            while True:
                job = BatchJob.parse(await cluster.find(name))
                for pod in await _pods(cluster, job, wanted.slot):
                    there = followed.get(pod)
                    if there is None or (there.done() and not there.result()):
                        followed[pod] = asyncio.create_task(_follow_pod(cluster, pod, wanted))
                if is_terminal(job.status):
                    break
                await asyncio.sleep(LOOK_SECONDS)
            await asyncio.gather(*followed.values())  # the logs of pods that have ended end by themselves
        finally:
            for task in followed.values():
                task.cancel()


async def _follow_pod(cluster: "Cluster", pod: str, wanted: _Wanted) -> bool:
    """Write what a pod writes until it ends; False where it has no log yet."""
    from batchjob.cli.output import note
    from batchjob.cli.pods import CONTAINER
    from batchjob.errors import ApiUnavailable, Invalid, NotFound

    try:
        async for line in cluster.kube.follow_log(cluster.namespace, pod, CONTAINER, wanted.tail):
            for one in _about(line, wanted.item):
                _write(f"{pod}: {one}" if wanted.prefix else one)
    except (Invalid, NotFound):
        return False
    except ApiUnavailable as error:
        note(f"{pod}: what it writes from now on is not shown: {error}")
    return True


async def _pods(cluster: "Cluster", job: "BatchJob", slot: int | None) -> list[str]:
    """Its worker pods, by their slots."""
    from batchjob.cli.pods import selector_of, slot_of
    from batchjob.kube import PODS

    found = (await cluster.kube.list(PODS, cluster.namespace, labels=selector_of(job))).items
    ordered = sorted(found, key=lambda pod: (slot_of(pod).zfill(6), pod["metadata"]["name"]))
    return [pod["metadata"]["name"] for pod in ordered if slot is None or slot_of(pod) == str(slot)]


def _about(text: str, item: str | None) -> Iterator[str]:
    """The lines about an item, or all."""
    for line in text.splitlines():
        if item is None or _item_of(line) == item:
            yield line


def _item_of(line: str) -> Any:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said.get("item") if isinstance(said, dict) else None


def _write(line: str) -> None:
    """As it is into a file or a pipe; what a terminal would act on is shown as its number."""
    from batchjob.cli.output import clean, is_terminal, say

    say(clean(line) if is_terminal() else line)
