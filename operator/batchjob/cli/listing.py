"""`batchjob ls` and `batchjob get`: from the custom resources; with a query, from the index of the gateway."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import click

from batchjob.cli.options import FORMATS, WIDE, GatewayPlace, Place, everywhere, names, output, placed, through_gateway
from batchjob.cli.rights import in_words

WATCH_SECONDS: Final = 300.0  # of one watch, which is then taken up again


@click.command(epilog=in_words("ls"))
@click.argument("query", nargs=-1)
@click.option("-l", "--selector", metavar="LABELS", help="Only those with these labels, such as team=search.")
@click.option("-w", "--watch", is_flag=True, help="Go on with what changes.")
@output()
@everywhere
@through_gateway
@placed
def ls(
    place: Place, query: tuple[str, ...], *, selector: str | None, watch: bool, form: str, gateway: GatewayPlace
) -> None:
    """List the BatchJobs of a namespace, oldest first.

    With a QUERY, such as status:failed age:<1d owner:alice, those that the HTTP API finds, newest first: yours, and
    everybody's for an admin. A query that begins with an exclusion goes behind --, as in: ls -- -status:succeeded
    """
    if query:
        if selector or watch:
            raise click.UsageError("a query goes without -l and --watch: it has label.KEY:VALUE")
        from batchjob.cli.searching import search

        return search(place, gateway, " ".join(query), form)
    from batchjob.cli.cluster import work

    return work(place, _list(place, selector, form, watch=watch))


async def _list(place: Place, selector: str | None, form: str, *, watch: bool) -> None:
    from batchjob.cli.cluster import open_cluster
    from batchjob.errors import Gone

    async with open_cluster(place) as cluster:
        while True:
            version = await _show_all(cluster, selector, form)
            if not watch:
                return
            with suppress(Gone):  # it was away for too long: all of them again
                await _follow(cluster, version, selector, form)


async def _show_all(cluster: Any, selector: str | None, form: str) -> str:
    """Print them; the version from which to watch."""
    from batchjob.api.v1alpha1 import KIND
    from batchjob.cli.cluster import read_together
    from batchjob.cli.output import note, show, show_objects
    from batchjob.kube import BATCH_JOBS

    is_table, now = form in FORMATS[:2], datetime.now(UTC)
    shorten = _without_items if is_table else None
    found = await cluster.kube.list(BATCH_JOBS, cluster.scope, labels=selector, shorten=shorten)
    ordered = read_together(found.items)
    if not is_table:
        show(ordered, form, KIND, now)
    elif ordered:
        show_objects(ordered, KIND, now, wide=form == WIDE, everywhere=cluster.everywhere)
    else:
        note("No BatchJobs found" + ("." if cluster.everywhere else f" in the namespace {cluster.namespace}."))
    return str(found.resource_version)


async def _follow(cluster: Any, since: str, selector: str | None, form: str) -> None:
    """Print each change as a line; until somebody stops it."""
    from batchjob.api.v1alpha1 import KIND
    from batchjob.cli.output import show, show_objects
    from batchjob.kube import BATCH_JOBS

    while True:
        async for event in cluster.kube.watch(BATCH_JOBS, cluster.scope, since, labels=selector, seconds=WATCH_SECONDS):
            since = event.object["metadata"]["resourceVersion"]
            if event.type == "BOOKMARK":
                continue
            now = datetime.now(UTC)
            if form in FORMATS[:2]:
                show_objects([event.object], KIND, now, wide=form == WIDE, everywhere=cluster.everywhere, headed=False)
            else:
                show([event.object], form, KIND, now, single=True)


def _without_items(body: dict[str, Any]) -> dict[str, Any]:
    """What is kept for a table: a BatchJob may bring its items along, 64 KiB of them."""
    source = {name: value for name, value in body["spec"].get("source", {}).items() if name != "items"}
    return {**body, "spec": {**body["spec"], "source": source}}


@click.command(epilog=in_words("get"))
@names
@output()
@placed
def get(place: Place, names: Sequence[str], *, form: str) -> None:
    """Show BatchJobs by their names."""
    from batchjob.cli.cluster import work

    return work(place, _get(place, names, form))


async def _get(place: Place, names: Sequence[str], form: str) -> None:
    from batchjob.api.v1alpha1 import KIND
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import show

    async with open_cluster(place) as cluster:
        found = [await cluster.find(name) for name in names]
    show(found, form, KIND, datetime.now(UTC), single=len(names) == 1)
