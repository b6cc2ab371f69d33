"""The list of BatchJobs, as it is shown. Pure."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from batchjob.api.status import ErrorClass, Phase
from batchjob.core.progress import format_duration, listed
from batchjob.core.queries import Query, Term, build_query
from batchjob.core.rows import JobRow
from batchjob.gateway.ui import words
from batchjob.gateway.ui.assets import ROOT
from batchjob.store import Page

STATES: Final = {
    Phase.PENDING: "waiting",
    Phase.QUEUED: "waiting",
    Phase.RUNNING: "active",
    Phase.FINALIZING: "active",
    Phase.SUSPENDED: "held",
    Phase.SUCCEEDED: "good",
    Phase.FAILED: "bad",
    Phase.CANCELLED: "quiet",
}
_TABS: Final = (Phase.RUNNING, Phase.QUEUED, Phase.SUSPENDED, Phase.FAILED, Phase.SUCCEEDED)


@dataclass(frozen=True)
class JobLine:
    """A BatchJob in a list."""

    key: str  # <namespace>.<name>, as in the API: namespaces have no dots
    path: str
    name: str
    namespace: str
    type: str
    queue: str
    owner: str
    phase: str
    state: str
    reason: str
    bar: tuple[words.Segment, ...]
    done: str
    total: str
    percent: int
    failed: int
    classes: tuple[str, ...]
    created: words.When | None
    took: str


@dataclass(frozen=True)
class Tab:
    """A link to the same search with another status."""

    label: str
    path: str
    is_current: bool


@dataclass(frozen=True)
class JobList:
    """A page of a search."""

    text: str  # of the query, as it was written
    fault: str
    lines: tuple[JobLine, ...]
    tabs: tuple[Tab, ...]
    first: str | None  # path of the first page, where this is another one
    following: str | None  # path of the next
    at_most: int
    is_filtered: bool


def job_path(namespace: str, name: str) -> str:
    """Where a BatchJob's page is."""
    return f"{ROOT}/jobs/{quote(namespace, safe='')}/{quote(name, safe='')}"


def search_path(text: str = "", cursor: str | None = None, page: str = "jobs") -> str:
    """Where a search is: its address holds its whole state."""
    given = {name: value for name, value in (("q", text), ("cursor", cursor)) if value}
    return f"{ROOT}/{page}" + (f"?{urlencode(given)}" if given else "")


def build_line(row: JobRow, now: float) -> JobLine:
    """A row of the index as a line."""
    state = STATES.get(Phase(row.phase), "quiet") if row.phase in set(Phase) else "quiet"
    done, total = listed(row, row.phase, row.reason)
    begun = row.started if row.started is not None else row.ended
    return JobLine(
        key=f"{row.namespace}.{row.name}",
        path=job_path(row.namespace, row.name),
        name=row.name,
        namespace=row.namespace,
        type=row.type,
        queue=row.queue,
        owner=row.owner or "",
        phase=row.phase,
        state=state,
        reason="" if row.reason in {row.phase, "Loading"} else row.reason,
        bar=words.segments(
            (("good", row.succeeded), ("bad", row.failed), ("quiet", row.cancelled), ("active", row.active)), row.total
        ),
        done=words.number(done),
        total="?" if total is None else words.number(total),
        percent=words.percent(done, row.total),
        failed=row.failed,
        classes=tuple(error for error in row.errors if error in set(ErrorClass)),
        created=words.when(row.created, now),
        took="" if begun is None else format_duration((row.ended or now) - begun),
    )


def build_list(text: str, query: Query, found: Page, now: float, *, is_later: bool) -> JobList:
    """What a search found."""
    return JobList(
        text=text,
        fault="",
        lines=tuple(build_line(row, now) for row in found.rows),
        tabs=_tabs(query),
        first=search_path(text) if is_later else None,
        following=search_path(text, found.cursor) if found.cursor else None,
        at_most=found.at_most,
        is_filtered=bool(query.terms),
    )


def build_fault(text: str, message: str, offset: int) -> JobList:
    """A search that cannot be understood: what is wrong, and where."""
    where = f" (at “{words.shortened(text[offset:], 24)}”)" if 0 <= offset < len(text) else ""
    return JobList(text, message + where, (), _tabs(Query()), None, None, 0, is_filtered=True)


def _tabs(query: Query) -> tuple[Tab, ...]:
    others = [term for term in query.terms if term.field != "status" or term.excluded]
    now = {term.value for term in query.terms if term.field == "status" and not term.excluded}
    found = [Tab("All", search_path(str(build_query(others))), not now)]
    for phase in _TABS:
        there = build_query([*others, Term("status", phase.lower())])
        found.append(Tab(phase.value, search_path(str(there)), now == {phase.lower()}))
    return tuple(found)
