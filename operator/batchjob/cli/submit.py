"""`batchjob submit`: BatchJobs from files into the cluster, each created and none changed: a BatchJob runs once."""

from pathlib import Path
from typing import Any

import click

from batchjob.cli.exits import ERROR, OK, Refused
from batchjob.cli.following import timeout
from batchjob.cli.options import Place, output, placed
from batchjob.cli.rights import in_words


@click.command(epilog=in_words("submit"))
@click.option(
    "-f", "--file", "files", type=click.Path(path_type=Path), multiple=True, required=True, metavar="FILE",
    help="Manifests, YAML or JSON; - is standard input. May be repeated.",
)  # fmt: skip
@click.option("--name", "new_name", metavar="NAME", help="Another name than the file has; for one BatchJob.")
@click.option("--dry-run", is_flag=True, help="Let the API server check it, and create nothing.")
@click.option("--wait", "waits", is_flag=True, help="Wait until it has ended; exit as batchjob wait does.")
@timeout
@output("table", "json", "yaml", "name")
@placed
def submit(
    place: Place,
    *,
    files: tuple[Path, ...],
    new_name: str | None,
    dry_run: bool,
    waits: bool,
    timeout: float | None,
    form: str,
) -> int:
    """Create the BatchJobs of some files.

    With metadata.generateName in place of a name each time makes another one. Documents of other kinds are left alone:
    kubectl apply makes them.
    """
    from batchjob.cli.cluster import work
    from batchjob.cli.files import read
    from batchjob.cli.output import note

    documents = read(files)
    jobs = [one for one in documents if one.is_ours and one.kind == "BatchJob"]
    if not jobs:
        raise Refused(f"{', '.join(map(str, files))}: there is no document with kind: BatchJob of batchjob.dev")
    if len(jobs) > 1 and (new_name or waits):
        raise click.UsageError(f"--name and --wait are for one BatchJob, and there are {len(jobs)}")
    if waits and dry_run:
        raise click.UsageError("--wait waits for what was created, and --dry-run creates nothing")
    for other in documents:
        if other not in jobs:
            note(f"{other.kind or 'A document'} {other.name} is left alone: kubectl apply -f {other.file} makes it")
    bodies = [_named(one.body, new_name) for one in jobs]
    return work(place, _submit(place, bodies, form, dry_run=dry_run, wait=(waits, timeout)))


def _named(body: dict[str, Any], name: str | None) -> dict[str, Any]:
    if name is None:
        return body
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    kept = {field: value for field, value in (metadata or {}).items() if field != "generateName"}
    return {**body, "metadata": {**kept, "name": name}}


async def _submit(
    place: Place, bodies: list[dict[str, Any]], form: str, *, dry_run: bool, wait: tuple[bool, float | None]
) -> int:
    from batchjob.cli.cluster import in_words as explain
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.following import follow
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
            show_made(found, form, "created (dry run)" if dry_run else "created")
    if wait[0] and code == OK:
        return await follow(place._replace(namespace=namespace), made, wait[1], "end")
    return code


def _namespace(place: Place, metadata: dict[str, Any], default: str) -> str:
    """Where it goes: as the manifest says, which -n must not contradict."""
    said = metadata.get("namespace")
    if said and place.namespace and said != place.namespace:
        raise Refused(f"the manifest is for the namespace {said}, and -n says {place.namespace}: change one of them")
    return str(said or default)
