"""`batchjob wait` and `batchjob watch`: until a BatchJob has ended; the exit code says how.

Both ask once a second and hold no watch open: a BatchJob is deleted, made again or ended in a single read, and a
watch that breaks has nothing to take up. Progress is written every five seconds at most.
"""

import asyncio
import time
from typing import Any, Final

import click

from batchjob.cli.exits import TIMEOUT, Refused
from batchjob.cli.options import Place, name, placed
from batchjob.cli.rights import in_words

PAUSE_SECONDS: Final = 1.0
AWAY_SECONDS: Final = (
    120.0  # an API server that is replaced is away for a minute: nobody's wait of hours ends with that
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_DIGITS: Final = 9  # of a duration: 30 years of seconds; Python and clocks know no more than some hundreds


class Duration(click.ParamType[float]):
    """Seconds, or 90s, 10m, 2h; as kubectl takes it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        number, unit = (value[:-1], value[-1:]) if value[-1:] in _UNITS else (value, "s")
        if not number.isdecimal():
            self.fail(f"{value!r} is no duration: write seconds, or such as 90s, 10m or 2h", param, ctx)
        if len(number) > _DIGITS:
            self.fail(f"a number of {len(number)} digits is too long: leave it out to wait for ever", param, ctx)
        return float(int(number) * _UNITS[unit])


timeout = click.option(
    "--timeout", type=Duration(), metavar="DURATION", help="Give up then: 90s, 10m (default: never)."
)


@click.command(epilog=in_words("wait"))
@name
@timeout
@click.option("-q", "--quiet", is_flag=True, help="Say nothing: the exit code tells.")
@placed
def wait(place: Place, name: str, *, timeout: float | None, quiet: bool) -> int:
    """Wait until a BatchJob has ended.

    It exits with 0 where it is Complete, 5 where it failed and some of its items succeeded, 4 where it failed else or
    was cancelled, 124 where it had not ended in time.
    """
    from batchjob.cli.cluster import work

    return work(place, follow(place, name, timeout, "quiet" if quiet else "end"))


@click.command(epilog=in_words("watch"))
@name
@timeout
@placed
def watch(place: Place, name: str, *, timeout: float | None) -> int:
    """Show the progress of a BatchJob until it ends: on a terminal a line that changes, else a line for each change.

    It exits as wait does.
    """
    from batchjob.cli.cluster import work

    return work(place, follow(place, name, timeout, "progress"))


async def follow(place: Place, name: str, seconds: float | None, told: str) -> int:
    """Until it ends. `told`: quiet, end or progress."""
    from batchjob.api.v1alpha1 import BatchJob
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.progress import Screen, ending_of
    from batchjob.core.phases import is_terminal
    from batchjob.errors import ApiUnavailable, NotFound

    deadline = None if seconds is None else time.monotonic() + seconds
    screen = Screen(shown=told == "progress")
    async with open_cluster(place) as cluster:
        job = BatchJob.parse(await cluster.find(name))
        heard = time.monotonic()
        while not is_terminal(job.status):
            screen.show(job)
            left = PAUSE_SECONDS if deadline is None else min(PAUSE_SECONDS, deadline - time.monotonic())
            if left <= 0:
                screen.end()
                raise Refused(
                    f"{job.metadata.name} has not ended in time. It goes on: wait again, or cancel it", TIMEOUT
                )
            await asyncio.sleep(left)
            try:
                seen = BatchJob.parse(await cluster.kube.get(*_key(job)))
                heard = time.monotonic()
            except NotFound:
                seen = None
            except ApiUnavailable:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise
                continue
            if seen is None or seen.metadata.uid != job.metadata.uid:
                screen.end()
                raise Refused(f"{job.metadata.name} was deleted before it ended")
            job = seen
    screen.show(job)
    screen.end()
    return ending_of(job, quiet=told == "quiet")


def _key(job: Any) -> tuple[Any, str, str]:
    from batchjob.kube import BATCH_JOBS

    return BATCH_JOBS, job.metadata.namespace, job.metadata.name
