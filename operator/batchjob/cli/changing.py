"""`batchjob suspend`, `resume`, `cancel` and `redrive`: changes of the custom resource, as the API and the pages do."""

import secrets
from collections.abc import Sequence
from typing import Any

import click

from batchjob.cli.exits import ERROR, OK, Refused
from batchjob.cli.options import Place, name, names, output, placed
from batchjob.cli.rights import in_words


@click.command(epilog=in_words("suspend"))
@names
@placed
def suspend(place: Place, names: Sequence[str]) -> int:
    """Pause BatchJobs: pods go, items and their attempts stay."""
    return _do(place, names, "suspend")


@click.command(epilog=in_words("resume"))
@names
@placed
def resume(place: Place, names: Sequence[str]) -> int:
    """Go on with BatchJobs that are paused, or held until somebody decides."""
    return _do(place, names, "resume")


@click.command(epilog=in_words("cancel"))
@names
@click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where nobody can answer.")
@placed
def cancel(place: Place, names: Sequence[str], *, yes: bool) -> int:
    """End BatchJobs as cancelled. There is no way back."""
    import sys

    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no way back from cancel: say --yes where nobody can be asked")
        click.confirm(f"End {', '.join(names)} as cancelled? There is no way back", abort=True, err=True)
    return _do(place, names, "cancel")


def _do(place: Place, names: Sequence[str], verb: str) -> int:
    from batchjob.cli.cluster import work

    return work(place, _change(place, names, verb))


async def _change(place: Place, names: Sequence[str], verb: str) -> int:
    """Change each of them; one that cannot be changed is told of, and the others go on."""
    from batchjob.api.v1alpha1 import BatchJob
    from batchjob.cli.cluster import in_words as explain
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import note, say
    from batchjob.core.actions import Action, build_change, obstacle
    from batchjob.errors import KubernetesError
    from batchjob.kube import BATCH_JOBS

    action, code = Action(verb), OK
    done = {Action.SUSPEND: "suspended", Action.RESUME: "resumed", Action.CANCEL: "cancelled"}[action]
    async with open_cluster(place) as cluster:
        for name in names:
            try:
                job = BatchJob.parse(await cluster.find(name))
                _check(obstacle(action, job), f"nothing to {action}")
                await cluster.kube.patch(BATCH_JOBS, *job.key, build_change(action, job, secrets.token_hex(16)))
            except KubernetesError as error:
                note(f"{name}: {explain(error, place)}")
                code = ERROR
            except Refused as refused:
                note(f"{name}: {refused}")
                code = ERROR
            else:
                say(f"batchjob.batchjob.dev/{job.metadata.name} {done}")
    return code


def _check(obstacle: str | None, sentence: str) -> None:
    if obstacle:
        raise Refused(f"{sentence}: {obstacle}")


@click.command(epilog=in_words("redrive"))
@name
@click.option("--error-class", "classes", multiple=True, metavar="CLASS", help="Only those of this class; repeatable.")
@click.option("--item", "items", multiple=True, metavar="ID", help="Only this item; repeatable.")
@click.option("--name", "new_name", metavar="NAME", help="The name of the new one (default: made up).")
@output("table", "json", "yaml", "name")
@placed
def redrive(
    place: Place, name: str, *, classes: tuple[str, ...], items: tuple[str, ...], new_name: str | None, form: str
) -> int:
    """Try the failed items of a BatchJob again, as a BatchJob of their own, which waits for its end."""
    from batchjob.api.status import ErrorClass
    from batchjob.cli.cluster import work

    if unknown := [one for one in classes if one not in set(ErrorClass)]:
        raise click.BadParameter(
            f"{unknown[0]} is no class: there are {', '.join(ErrorClass)}", param_hint="--error-class"
        )
    which: dict[str, Any] = {}
    if classes:
        which["errorClass"] = [*dict.fromkeys(classes)]
    if items:
        which["itemIds"] = [*dict.fromkeys(items)]
    return work(place, _redrive(place, name, which, new_name, form))


async def _redrive(place: Place, name: str, which: dict[str, Any], new_name: str | None, form: str) -> int:
    from batchjob.api.base import API_VERSION
    from batchjob.api.v1alpha1 import KIND, BatchJob
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import show_made
    from batchjob.core.actions import Action, build_redrive, obstacle, redrive_labels, redrive_name
    from batchjob.errors import AlreadyExists
    from batchjob.kube import BATCH_JOBS

    async with open_cluster(place) as cluster:
        body = await cluster.find(name)
        job = BatchJob.parse(body)
        _check(obstacle(Action.REDRIVE, job), f"nothing to redrive of {job.metadata.name}")
        made = new_name or redrive_name(job, secrets.token_hex(16))
        metadata: dict[str, Any] = {"name": made, "namespace": cluster.namespace}
        if labels := redrive_labels(body):
            metadata["labels"] = labels
        spec = build_redrive(job, body, {"filter": which} if which else {})
        manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
        try:
            found = await cluster.kube.create(BATCH_JOBS, cluster.namespace, manifest)
        except AlreadyExists:
            raise Refused(f"there is a BatchJob {made} already: give another name with --name") from None
    show_made(found, form, f"created: it tries the failed items of {job.metadata.name} again")
    return OK
