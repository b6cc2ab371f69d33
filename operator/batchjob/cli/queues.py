"""`batchjob queue`: where BatchJobs wait. Those of the types are there without any object."""

from datetime import UTC, datetime
from typing import Any

import click

from batchjob.cli.exits import OK, Refused
from batchjob.cli.options import Place, other_name, output, placed
from batchjob.cli.rights import in_words


@click.group()
def queue() -> None:
    """Where BatchJobs wait: list, pause and resume queues."""


@queue.command("ls", epilog=in_words("queue ls"))
@output()
@placed
def list_queues(place: Place, *, form: str) -> None:
    """List all queues: how many BatchJobs wait and run in each, and whether it is paused.

    Those of the types are there without an object; numbers are there only where a BatchQueue of that name exists.
    """
    from batchjob.cli.cluster import work

    return work(place, _list(place, form))


@queue.command("pause", epilog=in_words("queue pause"))
@other_name
@placed
def pause(place: Place, name: str) -> int:
    """Let nothing of a queue start; what runs goes on."""
    return _set(place, name, paused=True)


@queue.command("resume", epilog=in_words("queue resume"))
@other_name
@placed
def resume(place: Place, name: str) -> int:
    """Let BatchJobs of a queue start again."""
    return _set(place, name, paused=False)


def _set(place: Place, name: str, *, paused: bool) -> int:
    from batchjob.cli.cluster import work

    return work(place, _pause(place, name, paused=paused))


def with_built_in(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Queues by their names; those of the types too, which need no object."""
    from batchjob.api.base import API_VERSION
    from batchjob.api.queue import QUEUE_KIND
    from batchjob.api.v1alpha1 import JobType

    named = {item["metadata"]["name"]: item for item in found}
    for kind in JobType:
        metadata, spec = {"name": str(kind)}, {"paused": False}
        plain = {"apiVersion": API_VERSION, "kind": QUEUE_KIND, "metadata": metadata, "spec": spec}
        named.setdefault(str(kind), plain)
    return [named[name] for name in sorted(named)]


async def _list(place: Place, form: str) -> None:
    from batchjob.api.queue import QUEUE_KIND
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import show
    from batchjob.kube import BATCH_QUEUES

    async with open_cluster(place) as cluster:
        found = (await cluster.kube.list(BATCH_QUEUES)).items
    show(with_built_in(found), form, QUEUE_KIND, datetime.now(UTC))


async def _pause(place: Place, name: str, *, paused: bool) -> int:
    from batchjob.api.base import API_VERSION
    from batchjob.api.queue import QUEUE_KIND
    from batchjob.api.v1alpha1 import JobType
    from batchjob.cli.cluster import bare, open_cluster
    from batchjob.cli.output import show_made
    from batchjob.errors import NotFound
    from batchjob.kube import BATCH_QUEUES

    change, name = {"spec": {"paused": paused}}, bare(name)
    async with open_cluster(place) as cluster:
        try:
            there = await cluster.kube.get(BATCH_QUEUES, None, name)
        except NotFound:
            there = None
        if there is None and name not in set(JobType):
            raise Refused(f"there is no queue {name}: see batchjob queue ls")
        if ((there or {}).get("spec") or {}).get("paused", False) is paused:
            raise Refused(f"the queue {name} is {'paused already' if paused else 'not paused'}")
        if there:
            made = await cluster.kube.patch(BATCH_QUEUES, None, name, change)
        else:
            body = {"apiVersion": API_VERSION, "kind": QUEUE_KIND, "metadata": {"name": name}, **change}
            made = await cluster.kube.create(BATCH_QUEUES, None, body)
    show_made(made, "table", "paused" if paused else "resumed")
    return OK
