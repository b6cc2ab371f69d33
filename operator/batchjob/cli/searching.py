"""`batchjob ls QUERY`: what the index of the gateway finds. The query is read here first, by the same parser."""

from datetime import UTC, datetime
from typing import Final

import click
import msgspec

from batchjob.cli.cluster import Cluster, work
from batchjob.cli.gateway import ask
from batchjob.cli.options import WIDE, GatewayPlace, Place
from batchjob.cli.output import note, say, show_json, show_lines, show_table, show_yaml
from batchjob.cli.views import NONE, in_units
from batchjob.client import AsyncClient, FoundJob
from batchjob.core.progress import format_fraction, listed
from batchjob.core.queries import Query, Term, build_query, parse_query
from batchjob.errors import QueryError

HEADERS: Final = ("NAMESPACE", "NAME", "TYPE", "PHASE", "PROGRESS", "FAILED", "AGE")
MORE: Final = ("QUEUE", "OWNER", "REASON")


def search(place: Place, gateway: GatewayPlace, text: str, form: str) -> None:
    """Print what a query finds."""
    try:
        query = parse_query(text)
    except QueryError as error:
        raise click.UsageError(f"{error}\n  {text}\n  {' ' * error.offset}^") from None
    return work(place, ask(place, gateway, lambda cluster, client: _search(cluster, client, place, query, form)))


def within(query: Query, place: Place, namespace: str) -> Query:
    """The query, of one's namespace where it names none and -A is not there."""
    if place.everywhere or any(term.field == "namespace" for term in query.terms):
        return query
    return build_query([*query.terms, Term("namespace", namespace)])


async def _search(cluster: Cluster, client: AsyncClient, place: Place, query: Query, form: str) -> None:
    wanted = within(query, place, cluster.namespace)
    show_found([job async for job in client.search(str(wanted))], form, datetime.now(UTC), str(wanted))


def show_found(found: list[FoundJob], form: str, now: datetime, query: str) -> None:
    """Print BatchJobs of a search."""
    plain = [msgspec.to_builtins(job) for job in found]
    match form:
        case "json":
            show_json(plain)
        case "yaml":
            show_yaml(plain)
        case "jsonl":
            show_lines(plain)
        case "name":
            for one in found:
                say(f"batchjob.batchjob.dev/{one.name}")
        case _ if found:
            wide = form == WIDE
            show_table((*HEADERS, *MORE) if wide else HEADERS, (_row(job, now, wide=wide) for job in found))
        case _:
            note(f"No BatchJobs found by {query}")


def _row(job: FoundJob, now: datetime, *, wide: bool) -> tuple[object, ...]:
    counts = job.counts
    age = in_units(now.timestamp() - job.created) if job.created is not None else NONE
    phase = job.state.capitalize()
    progress = format_fraction(*listed(counts, phase, job.reason))
    plain = (job.namespace, job.name, job.type, phase, progress, counts.failed, age)
    return (*plain, job.queue or NONE, job.owner or NONE, job.reason or NONE) if wide else plain
