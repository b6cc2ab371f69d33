"""`batchjob migrate`: what waits in other queues, as BatchJobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from batchjob.cli.exits import Refused

if TYPE_CHECKING:
    from batchjob.cli.bullmq import Job, Left

MOST_MANIFESTS: Final = 100
_STATES: Final = ("wait", "paused", "prioritized", "delayed", "failed")


@click.group()
def migrate() -> None:
    """Bring over what waits in other queues."""


@migrate.command("bullmq")
@click.option(
    "--redis", "url", envvar="BATCHJOB_MIGRATE_REDIS", metavar="URL", required=True, show_envvar=True,
    help="BullMQ's Redis, such as redis://host:6379/0; with a login: redis://user:password@host.",
)  # fmt: skip
@click.option("--queue", required=True, metavar="NAME", help="The queue.")
@click.option(
    "--template", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="A BatchJob without a source, whose items the jobs become; - is standard input.",
)  # fmt: skip
@click.option(
    "--state", "states", type=click.Choice(_STATES), multiple=True, default=("wait", "paused", "prioritized"),
    show_default=True, help="Jobs of which state. delayed: a BatchJob for each minute, with startAfter.",
)  # fmt: skip
@click.option("--job", "names", multiple=True, metavar="NAME", help="Only jobs of this name; repeatable.")
@click.option("--prefix", default="bull", show_default=True, metavar="TEXT", help="What BullMQ's keys begin with.")
@click.option(
    "--items", nargs=2, type=(click.Path(path_type=Path), str), metavar="FILE URL",
    help="Write the items into FILE, as JSON lines; URL is where you will put it (source.uri.url). For many.",
)  # fmt: skip
def bullmq(
    *,
    url: str,
    queue: str,
    template: Path,
    states: tuple[str, ...],
    names: tuple[str, ...],
    prefix: str,
    items: tuple[Path, str] | None,
) -> None:
    """Print the jobs of a BullMQ queue as BatchJobs, for kubectl create or batchjob submit.

    The queue is read and not changed: pause it first, so that its workers take nothing meanwhile, and remove the jobs
    once the BatchJobs are there. An item has the id of its job, and its data; data that is no object becomes the field
    `value`.
    """
    from batchjob.cli import interrupts

    body = _template(template)
    found, left = interrupts.run(_read(url, prefix, queue, states))
    wanted = [job for job in found if not names or job.name in names]
    _tell(queue, found, wanted, left)
    if not wanted:
        raise Refused(f"the queue {queue} has no such jobs: is it {prefix}:{queue}, in the states {', '.join(states)}?")
    _print(_with_file(body, wanted, *items) if items else _inline(body, wanted))


async def _read(url: str, prefix: str, queue: str, states: Sequence[str]) -> "tuple[list[Job], Left]":
    from batchjob.api.run import StoreAccess
    from batchjob.cli.bullmq import Queue
    from batchjob.errors import BatchJobError
    from batchjob.store.connection import Connection

    try:
        connection = Connection(StoreAccess(url=url), name="batchjob-migrate")
        try:
            found = Queue(connection, prefix, queue)
            return await found.read(states), await found.left()
        finally:
            await connection.close()
    except BatchJobError as error:
        raise Refused(f"BullMQ's Redis: {error}") from None


def _template(file: Path) -> dict[str, Any]:
    from batchjob.cli.files import read

    documents = read([file])
    if len(documents) != 1 or not documents[0].is_ours or documents[0].kind != "BatchJob":
        raise Refused(f"{file}: it has to be one BatchJob of batchjob.dev")
    body = documents[0].body
    spec, metadata = body.get("spec"), body.get("metadata")
    if not isinstance(spec, dict) or "source" in spec:
        raise Refused(f"{file}: leave spec.source out: the jobs of the queue take its place")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise Refused(f"{file}: metadata.name is needed: BatchJobs are named after it")
    return body


def _tell(queue: str, found: "Sequence[Job]", wanted: "Sequence[Job]", left: "Left") -> None:
    from batchjob.cli.output import clean, note

    counts: dict[str, int] = {}
    for job in found:
        counts[job.name] = counts.get(job.name, 0) + 1
    note(clean(f"{queue}: {len(wanted)} jobs of {', '.join(f'{name} ({n})' for name, n in counts.items()) or 'none'}"))
    stays = {"active": left.active, "waiting for children": left.parents, "job schedulers": left.schedulers}
    if any(stays.values()):
        note("not read: " + ", ".join(f"{number} {what}" for what, number in stays.items() if number))
    if not left.is_paused:
        note("the queue is not paused: its workers may take these jobs too")


def _inline(body: Mapping[str, Any], jobs: "Sequence[Job]") -> list[dict[str, Any]]:
    from batchjob.api.source import MAX_INLINE_BYTES
    from batchjob.cli.bullmq import build_item, split

    parts = list(split(jobs, 1000, MAX_INLINE_BYTES))
    if len(parts) > MOST_MANIFESTS:
        raise Refused(f"these would be {len(parts)} BatchJobs: write a file with --items, or take fewer with --job")
    return [
        _manifest(body, {"items": [build_item(job) for job in part]}, part[0], f"-{number}" if len(parts) > 1 else "")
        for number, part in enumerate(parts, 1)
    ]


def _with_file(body: Mapping[str, Any], jobs: "Sequence[Job]", file: Path, url: str) -> list[dict[str, Any]]:
    import json

    from batchjob.cli.files import writing

    if any(job.due for job in jobs):
        raise Refused("--items is for jobs that may begin now: bring delayed ones over without it")
    if file.exists():
        raise Refused(f"{file} is there already: name another file")
    # First: a template that is refused leaves no file behind, which the next try would find in its way.
    made = _manifest(body, {"uri": {"url": url, "format": "items"}}, jobs[0], "")
    with writing(file) as lines:
        lines.writelines(json.dumps({"id": job.id, "data": job.data}, ensure_ascii=False) + "\n" for job in jobs)
    return [made]


def _manifest(body: Mapping[str, Any], source: Mapping[str, Any], first: "Job", ending: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    from batchjob.cli.bullmq import due_minute
    from batchjob.local.rules import faults

    metadata = {**body["metadata"], "name": body["metadata"]["name"] + ending}
    later = {}
    if minute := due_minute(first):
        later["startAfter"] = datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = {**body, "metadata": metadata, "spec": {**body["spec"], **later, "source": source}}
    if wrong := faults(made, "BatchJob"):
        raise Refused("\n  ".join(["this would be no BatchJob:", *wrong[:5]]))
    return made


def _print(manifests: Sequence[dict[str, Any]]) -> None:
    from batchjob.cli.output import show_yaml

    show_yaml(*manifests)
