"""`batchjob status`: one page of what `status_page` says, or the object."""

from datetime import UTC, datetime

import click

from batchjob.cli.options import TABLE, Place, name, output, placed
from batchjob.cli.rights import in_words


@click.command(epilog=in_words("status"))
@name
@output(TABLE, "json", "yaml")
@placed
def status(place: Place, name: str, *, form: str) -> None:
    """All about a BatchJob: where it stands and why, what failed, who works on it."""
    from batchjob.cli.cluster import work

    return work(place, _status(place, name, form))


async def _status(place: Place, name: str, form: str) -> None:
    from batchjob.api.v1alpha1 import KIND, BatchJob
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import say, show
    from batchjob.cli.pods import selector_of
    from batchjob.cli.status_page import build_page
    from batchjob.errors import Forbidden
    from batchjob.kube import PODS

    now = datetime.now(UTC)
    async with open_cluster(place) as cluster:
        body = await cluster.find(name)
        if form != TABLE:
            return show([body], form, KIND, now, single=True)
        job = BatchJob.parse(body)
        try:
            pods = (await cluster.kube.list(PODS, cluster.namespace, labels=selector_of(job))).items
        except Forbidden:
            pods = None
    for line in build_page(job, pods, now):
        say(line)
    return None
