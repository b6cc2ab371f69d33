"""`batchjob submit`: BatchJobs from files into the cluster, each created and none changed: a BatchJob runs once.

They go to Kubernetes, but for one with `--items`: those are more than an object holds, so the HTTP API stages them.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from batchjob.cli.exits import ERROR, OK, Refused
from batchjob.cli.following import timeout
from batchjob.cli.options import GatewayPlace, Place, output, placed, through_gateway
from batchjob.cli.rights import in_words

if TYPE_CHECKING:
    from batchjob.cli.files import Document

F = TypeVar("F", bound=Callable[..., Any])
STDIN: Final = Path("-")
_DOCUMENTS: Final = frozenset({"json", "yaml"})


class Wait(NamedTuple):
    """Whether to wait for the end, and how long; None: until it comes."""

    waits: bool
    seconds: float | None


class Many(NamedTuple):
    """A file with items, and the HTTP API that takes them."""

    file: Path | None
    gateway: GatewayPlace


def _waiting(command: F) -> F:
    @click.option("--wait", "waits", is_flag=True, help="Wait until it has ended; exit as batchjob wait does.")
    @timeout
    @functools.wraps(command)
    def inner(*given: Any, waits: bool, timeout: float | None, **more: Any) -> Any:
        return command(*given, wait=Wait(waits, timeout), **more)

    return inner  # type: ignore[return-value] # as in options


def _with_items(command: F) -> F:
    @click.option(
        "--items", type=click.Path(path_type=Path), metavar="FILE",
        help='Items of the BatchJob, any number, {"id": "1", "data": {}} in a line each; - is standard input. They go '
        "over the HTTP API, in constant memory, and stand in place of spec.source.",
    )  # fmt: skip
    @through_gateway
    @functools.wraps(command)
    def inner(*given: Any, items: Path | None, gateway: GatewayPlace, **more: Any) -> Any:
        return command(*given, many=Many(items, gateway), **more)

    return inner  # type: ignore[return-value] # as above


@click.command(epilog=in_words("submit"))
@click.option(
    "-f", "--file", "files", type=click.Path(path_type=Path), multiple=True, required=True, metavar="FILE",
    help="Manifests, YAML or JSON; - is standard input. May be repeated.",
)  # fmt: skip
@click.option("--name", "new_name", metavar="NAME", help="Another name than the file has; for one BatchJob.")
@click.option("--dry-run", is_flag=True, help="Let the API server check it, and create nothing.")
@_waiting
@output("table", "json", "yaml", "name")
@_with_items
@placed
def submit(
    place: Place, *, files: tuple[Path, ...], new_name: str | None, many: Many, dry_run: bool, wait: Wait, form: str
) -> int:
    """Create the BatchJobs of some files.

    With metadata.generateName in place of a name each time makes another one. Documents of other kinds are left alone:
    kubectl apply makes them.
    """
    from batchjob.cli.cluster import work
    from batchjob.cli.files import read
    from batchjob.cli.output import note

    documents = read(files)
    jobs = _jobs(documents, files)
    if len(jobs) > 1 and (new_name or wait.waits or many.file):
        raise click.UsageError(f"--name, --wait and --items are for one BatchJob, and there are {len(jobs)}")
    if many.file and dry_run:
        raise click.UsageError("--dry-run asks the API server, and --items go over the HTTP API: leave one out")
    if many.file == STDIN and STDIN in files:
        raise click.UsageError("-f - and --items - are the same input: give one of them a file")
    if wait.seconds is not None and not wait.waits:
        raise click.UsageError("--timeout is how long to --wait: give both, or leave it out")
    if wait.waits and dry_run:
        raise click.UsageError("--wait waits for what was created, and --dry-run creates nothing")
    for other in documents:
        if other not in jobs:
            note(f"{other.kind or 'A document'} {other.name} is left alone: kubectl apply -f {other.file} makes it")
    bodies = [_named(one.body, new_name) for one in jobs]
    if many.file:
        return work(place, _send(place, many.file, many.gateway, bodies[0], form, wait))
    return work(place, _submit(place, bodies, form, dry_run=dry_run, wait=wait))


def _jobs(documents: "Sequence[Document]", files: Sequence[Path]) -> "list[Document]":
    if wrong := [f"{one.file}: {one.name}: {one.wrong_kind}" for one in documents if one.wrong_kind]:
        raise Refused("; ".join(wrong))
    jobs = [one for one in documents if one.is_ours and one.kind == "BatchJob"]
    if not jobs:
        raise Refused(f"{', '.join(map(str, files))}: there is no document with kind: BatchJob of batchjob.dev")
    return jobs


def _named(body: dict[str, Any], name: str | None) -> dict[str, Any]:
    if name is None:
        return body
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    kept = {field: value for field, value in (metadata or {}).items() if field != "generateName"}
    return {**body, "metadata": {**kept, "name": name}}


async def _submit(place: Place, bodies: list[dict[str, Any]], form: str, *, dry_run: bool, wait: Wait) -> int:
    from batchjob.cli.cluster import in_words as explain
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import note, show_made
    from batchjob.errors import AlreadyExists, KubernetesError
    from batchjob.kube import BATCH_JOBS

    code, made = OK, ""
    async with open_cluster(place) as cluster:
        for body in bodies:
            metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
            name = (metadata or {}).get("name") or (metadata or {}).get("generateName") or "without a name"
            namespace = _namespace(place, metadata or {}, cluster.namespace)
            try:
                found = await cluster.kube.create(BATCH_JOBS, namespace, body, dry_run=dry_run)
            except AlreadyExists:
                note(
                    f"{namespace}/{name}: there is one of that name, and a BatchJob runs once: give another with --name"
                )
                code = ERROR
                continue
            except KubernetesError as error:
                note(f"{namespace}/{name}: {explain(error, place)}")
                code = ERROR
                continue
            made = found["metadata"]["name"]
            if not (wait.waits and form in _DOCUMENTS):
                show_made(found, form, "created (dry run)" if dry_run else "created")
    return await _wait(place._replace(namespace=namespace), made, form, wait) if wait.waits and code == OK else code


async def _wait(place: Place, name: str, form: str, wait: Wait) -> int:
    """Wait for the end. What a program reads is shown once: as it is then."""
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.following import follow
    from batchjob.cli.output import show_made
    from batchjob.errors import NotFound

    try:
        return await follow(place, name, wait.seconds, "end" if form == "table" else "quiet")
    finally:
        if form in _DOCUMENTS:
            with suppress(NotFound):
                async with open_cluster(place) as cluster:
                    show_made(await cluster.find(name), form, "")


async def _send(place: Place, items: Path, gateway: GatewayPlace, body: dict[str, Any], form: str, wait: Wait) -> int:
    from batchjob.cli.gateway import ask
    from batchjob.cli.output import note, show_made
    from batchjob.kube import BATCH_JOBS

    fields = _fields(body)
    wanted = fields.pop("namespace", None)

    async def send(cluster: Any, client: Any) -> tuple[str, str]:
        made = await client.submit(fields.pop("type", ""), items=read_items(items), **fields)
        namespace, _, name = made.job_id.partition(".")
        if namespace != _namespace(place, {"namespace": wanted}, cluster.namespace):
            note(f"It is in the namespace {namespace}: over the HTTP API, who you are decides where")
        if not (wait.waits and form in _DOCUMENTS):
            show_made(await cluster.kube.get(BATCH_JOBS, namespace, name), form, "created")
        return namespace, name

    namespace, name = await ask(place, gateway, send)
    return await _wait(place._replace(namespace=namespace), name, form, wait) if wait.waits else OK


def _fields(body: dict[str, Any]) -> dict[str, Any]:
    """A manifest as the HTTP API takes it; Refused says what it has no place for."""
    spec, metadata = body.get("spec"), body.get("metadata")
    if not isinstance(spec, dict) or not isinstance(metadata or {}, dict):
        raise Refused("the manifest has no spec: batchjob lint says what it should have")
    if "source" in spec:
        raise Refused("--items are the source: take spec.source out of the manifest, or leave --items away")
    more = {field: value for field, value in (metadata or {}).items() if field != "generateName"}
    if left := sorted(more.keys() - {"name", "namespace", "labels"}):
        raise Refused(f"the HTTP API takes no metadata.{left[0]}: take it out of the manifest")
    return {**spec, **more}


def read_items(file: Path) -> Iterator[Any]:
    """What stands in each line; Refused names the line that cannot be read, or says that there is none."""
    item = None
    try:
        with sys.stdin.buffer if file == STDIN else file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    item = _decode(line, f"{file}:{number}")
                    yield item
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from None
    if item is None:
        raise Refused(f"{'standard input' if file == STDIN else file} has no items: write one in each line")


def _decode(line: bytes, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise Refused(f'{place} is no JSON: {error}. Each line is an item, {{"id": "1", "data": {{}}}}') from None


def _namespace(place: Place, metadata: dict[str, Any], default: str) -> str:
    """Where it goes: as the manifest says, which -n must not contradict."""
    said = metadata.get("namespace")
    if said and place.namespace and said != place.namespace:
        raise Refused(f"the manifest is for the namespace {said}, and -n says {place.namespace}: change one of them")
    return str(said or default)
