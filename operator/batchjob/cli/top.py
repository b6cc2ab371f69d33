"""`batchjob top`: the BatchJobs that have not ended, the fastest first, as their status says."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from batchjob.cli.options import Place, everywhere, placed
from batchjob.cli.rights import in_words

HEADERS: Final = ("NAME", "PHASE", "PROGRESS", "RATE", "WORKERS", "ACTIVE", "WAITING", "FAILED", "ENDS IN", "WHY")


@click.command(epilog=in_words("top"))
@everywhere
@placed
def top(place: Place) -> None:
    """What runs and waits now: how fast, with how many workers, and when it would end."""
    from batchjob.cli.cluster import work

    return work(place, _top(place))


async def _top(place: Place) -> None:
    from batchjob.cli.cluster import open_cluster
    from batchjob.cli.output import note, show_table
    from batchjob.kube import BATCH_JOBS

    async with open_cluster(place) as cluster:
        found = (await cluster.kube.list(BATCH_JOBS, cluster.scope, shorten=_metadata_and_status)).items
    rows = build_rows(found, datetime.now(UTC), everywhere=cluster.everywhere)
    if rows:
        return show_table([*(["NAMESPACE"] if cluster.everywhere else []), *HEADERS], rows)
    return note("Nothing runs or waits" + ("." if cluster.everywhere else f" in the namespace {cluster.namespace}."))


def _metadata_and_status(body: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": body["metadata"], "status": body.get("status") or {}}


def build_rows(found: list[dict[str, Any]], now: datetime, *, everywhere: bool) -> list[list[str]]:
    """Those that have not ended: by rate, then by age."""
    from batchjob.core.phases import TERMINAL

    going = [item for item in found if item["status"].get("phase") not in TERMINAL]
    going.sort(key=lambda item: (-_number(item["status"].get("rate")), item["metadata"]["creationTimestamp"]))
    return [[*([item["metadata"]["namespace"]] if everywhere else []), *_row(item, now)] for item in going]


def _row(item: Mapping[str, Any], now: datetime) -> Iterator[str]:
    from batchjob.cli.views import NONE, in_units, parse_time

    status = item["status"]
    counts, ends = status.get("counts") or {}, status.get("estimatedCompletionTime")
    holding = (one for one in status.get("conditions") or () if one.get("status") == "True")
    yield item["metadata"]["name"]
    yield status.get("phase") or "Pending"
    yield status.get("progress") or "0/?"
    yield status.get("rate") or NONE
    yield str(status.get("activeWorkers") or 0)
    for name in ("active", "waiting", "failed"):
        yield str(counts.get(name) or 0)
    yield in_units((parse_time(ends) - now).total_seconds()) if ends else NONE
    yield next((str(one.get("reason", "")) for one in holding), "")


def _number(text: Any) -> float:
    try:
        return float(str(text).removesuffix("/s"))
    except ValueError:
        return 0.0
