"""`batchjob logs`: what the workers of a BatchJob wrote, or what they wrote about one item."""

import json
from collections.abc import Iterator
from typing import Any

import click

from batchjob.cli.exits import Refused
from batchjob.cli.options import Place, name, placed
from batchjob.cli.rights import in_words


@click.command(epilog=in_words("logs"))
@name
@click.option("--item", metavar="ID", help="Only lines about this item.")
@click.option("--slot", type=click.IntRange(min=0), help="Only the worker of this slot.")
@click.option("--tail", type=click.IntRange(min=1), default=1000, show_default=True, help="The last lines of each pod.")
@click.option("--prefix", is_flag=True, help="Begin each line with the name of its pod.")
@placed
def logs(place: Place, name: str, *, item: str | None, slot: int | None, tail: int, prefix: bool) -> None:
    """Logs of the worker pods of a BatchJob, pod by pod: a JSON object a line, with the item that it is about.

    They are there as long as the pods are (spec.retention).
    """
    from batchjob.cli.cluster import work

    return work(place, _logs(place, name, item, slot, tail, prefix=prefix))


async def _logs(place: Place, name: str, item: str | None, slot: int | None, tail: int, *, prefix: bool) -> None:
    from batchjob.api.v1alpha1 import BatchJob
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import note
    from batchjob.cli.pods import CONTAINER, selector_of, slot_of
    from batchjob.errors import Invalid, NotFound
    from batchjob.kube import PODS

    async with open_cluster(place) as cluster:
        job = BatchJob.parse(await cluster.find(name))
        pods = (await cluster.kube.list(PODS, cluster.namespace, labels=selector_of(job))).items
        wanted = [pod for pod in pods if slot is None or slot_of(pod) == str(slot)]
        if not wanted:
            raise Refused(
                f"{job.metadata.name} has no pods" + (f" of slot {slot}" if slot is not None else "") + ": it has not "
                "begun, or they were removed after its end (spec.retention)"
            )
        for pod in sorted(wanted, key=lambda one: (slot_of(one).zfill(6), one["metadata"]["name"])):
            its_name = pod["metadata"]["name"]
            try:
                text = await cluster.kube.log(cluster.namespace, its_name, CONTAINER, tail)
            except (Invalid, NotFound) as error:
                note(f"{its_name}: there is no log yet: {error}")
                continue
            for line in _about(text, item):
                _write(f"{its_name}: {line}" if prefix else line)


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
