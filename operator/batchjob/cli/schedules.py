"""`batchjob schedule`: BatchJobs at the times of cron strings."""

from datetime import UTC, datetime

import click

from batchjob.cli.exits import OK, Refused
from batchjob.cli.options import FORMATS, WIDE, Place, everywhere, other_name, output, placed
from batchjob.cli.rights import in_words


@click.group()
def schedule() -> None:
    """BatchJobs at the times of cron strings: list, pause, resume and run schedules."""


@schedule.command("ls", epilog=in_words("schedule ls"))
@output()
@everywhere
@placed
def list_schedules(place: Place, *, form: str) -> None:
    """List the BatchSchedules of a namespace, with their last and next runs."""
    from batchjob.cli.cluster import work

    return work(place, _list(place, form))


@schedule.command("suspend", epilog=in_words("schedule suspend"))
@other_name
@placed
def suspend(place: Place, name: str) -> int:
    """Make no new runs; those that have begun go on."""
    return _set(place, name, suspended=True)


@schedule.command("resume", epilog=in_words("schedule resume"))
@other_name
@placed
def resume(place: Place, name: str) -> int:
    """Make runs again: the last one that was missed at once."""
    return _set(place, name, suspended=False)


@schedule.command("run", epilog=in_words("schedule run"))
@other_name
@output("table", "json", "yaml", "name")
@placed
def run(place: Place, name: str, *, form: str) -> int:
    """Make a BatchJob of a schedule now, besides those of its times."""
    from batchjob.cli.cluster import work

    return work(place, _run(place, name, form))


def _set(place: Place, name: str, *, suspended: bool) -> int:
    from batchjob.cli.cluster import work

    return work(place, _suspend(place, name, suspended=suspended))


async def _list(place: Place, form: str) -> None:
    from batchjob.api.schedule import SCHEDULE_KIND
    from batchjob.cli.cluster import open_cluster, read_together
    from batchjob.cli.output import note, show, show_objects
    from batchjob.kube import BATCH_SCHEDULES

    async with open_cluster(place) as cluster:
        found = read_together((await cluster.kube.list(BATCH_SCHEDULES, cluster.scope)).items)
    now = datetime.now(UTC)
    if form not in FORMATS[:2]:
        show(found, form, SCHEDULE_KIND, now)
    elif found:
        show_objects(found, SCHEDULE_KIND, now, wide=form == WIDE, everywhere=cluster.everywhere)
    else:
        note("No BatchSchedules found" + ("." if cluster.everywhere else f" in the namespace {cluster.namespace}."))


async def _suspend(place: Place, name: str, *, suspended: bool) -> int:
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import show_made
    from batchjob.kube import BATCH_SCHEDULES

    async with open_cluster(place) as cluster:
        there = await cluster.find(name, BATCH_SCHEDULES)
        if there["spec"].get("suspend", False) is suspended:
            raise Refused(
                f"the schedule {there['metadata']['name']} is {'suspended already' if suspended else 'not suspended'}"
            )
        change = {"metadata": {"uid": there["metadata"]["uid"]}, "spec": {"suspend": suspended}}
        made = await cluster.kube.patch(BATCH_SCHEDULES, cluster.namespace, there["metadata"]["name"], change)
    show_made(made, "table", "suspended" if suspended else "resumed")
    return OK


async def _run(place: Place, name: str, form: str) -> int:
    from batchjob.api.policies import Retention
    from batchjob.api.schedule import BatchSchedule
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import show_made
    from batchjob.core.schedule_runs import build_run_now
    from batchjob.errors import AlreadyExists
    from batchjob.kube import BATCH_JOBS, BATCH_SCHEDULES

    async with open_cluster(place) as cluster:
        body = await cluster.find(name, BATCH_SCHEDULES)
        template, kept = body["spec"]["jobTemplate"], Retention().failed_seconds
        job = build_run_now(BatchSchedule.parse(body), template, datetime.now(UTC), kept)
        try:
            made = await cluster.kube.create(BATCH_JOBS, cluster.namespace, job)
        except AlreadyExists:
            raise Refused(f"{job['metadata']['name']} was made this very second: there is one run of it now") from None
    show_made(made, form, f"created by the schedule {body['metadata']['name']}")
    return OK
