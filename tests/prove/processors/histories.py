"""Reports about histories drawn by chance: every figure is what the ledgers of the neighbours count.

Runs of several types, owners, queues and namespaces have items that succeed, succeed at the second try and fail, and
ended at any time in two windows and before. What each did is read from the ledgers of mails, requests and objects, and
added up here by the definitions of the report's fields, without a look at what the product counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from batchjob.api.figures import Figures, Measures
from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.worker.processor import make_processor
from tests.support import manifests
from tests.support.ai_runs import ai_spec, asked
from tests.support.mailing import mailing
from tests.support.neighbours.client import Neighbours
from tests.support.reporting import NOW, document, end, report, reporting
from tests.support.workers import Workers

MOST_ITEMS: Final = 12  # of a run
RETRY: Final = {"maxAttempts": 2, "backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}
WINDOWS: Final = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24}  # hours, but for the longest: it has the end of summer time
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
BY_DAYS: Final = timedelta(days=3)  # a shorter window is drawn by hours
CANCELLED: Final = 0.1  # of the runs
REACH: Final = 2.2  # windows, back to which a run may have ended
LISTED: Final = 10  # BatchJobs with failed items
S3_KEYS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# How a name ends says what becomes of the item at the server: `-late` is put off once, `-gone` is refused for ever.
FAULTS: Final[dict[str, list[dict[str, Any]]]] = {
    "smtp": [
        {"match": "-late", "action": "smtp_code", "status": 451, "words": "4.3.0 later", "times": 1},
        {"match": "-gone", "action": "smtp_code", "status": 550, "words": "5.1.1 no such user"},
    ],
    "chat": [{"match": "-late", "action": "status", "times": 1}, {"match": "-gone", "action": "status"}],
}
FATES: Final = ("good", "good", "good", "late", "gone")


class Done(NamedTuple):
    """What the ledgers say of the items of a run."""

    succeeded: int
    failures: dict[str, int]
    retried: int
    usage: dict[str, int]


class Ran(NamedTuple):
    """A run that has ended."""

    name: str
    namespace: str
    owner: str
    queue: str
    ended: datetime
    items: int
    done: Done
    is_cancelled: bool

    @property
    def failed(self) -> int:
        """Items that were given up."""
        return sum(self.done.failures.values())


async def trial(workers: Workers, neighbours: Neighbours, runs: int, seed: int) -> dict[str, Any]:
    """A history of so many runs, and reports of all and of one owner; AssertionError where a figure differs."""
    random = Random(seed)
    for server, rules in FAULTS.items():
        neighbours.set_faults(server, rules)
    window = list(WINDOWS)[seed % len(WINDOWS)]
    history = [await live(workers, neighbours, random, WINDOWS[window]) for _ in range(runs)]
    neighbours.clear_faults()
    compared = 0
    for scope in ("owner", "all"):
        zone = random.choice(ZONES)
        run, _ = await report(workers, reporting(workers, window=window, timeZone=zone, scope=scope))
        mine = [ran for ran in history if scope == "all" or (ran.namespace, ran.owner) == ("test", "alice")]
        begins = min(ran.ended for ran in history)
        counted = count(mine, window, ZoneInfo(zone), begins)
        told = read(document(workers, run).figures)
        both = {name: (told.get(name), counted.get(name)) for name in told | counted}
        differ = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
        assert not differ, f"reported and counted: {differ}"
        compared += len(told)
    return {
        "histories": 1,
        "runs": runs,
        "items": sum(ran.done.succeeded + ran.failed for ran in history),
        "reports": 2,
        "figures": compared,
        "figures_that_differ": 0,
    }


async def live(workers: Workers, neighbours: Neighbours, random: Random, hours: int) -> Ran:
    """One run from its beginning to its end."""
    kind = random.choice(list(KINDS))
    owner, queue = random.choice(("alice", "bob")), random.choice((kind, kind, "night"))
    names = [f"n{number}-{random.choice(FATES)}" for number in range(random.randint(1, MOST_ITEMS))]
    run = await workers.open(KINDS[kind].spec(neighbours, names) | {"owner": owner, "queueName": queue, "retry": RETRY})
    workers.reference(run, "destination-credentials", **S3_KEYS)
    before = hits(neighbours)
    is_cancelled = random.random() < CANCELLED
    if is_cancelled:
        await workers.store.cancel(run.uid)
    assert await workers.work(run, make_processor(kind)) == EXIT_CLOSED
    ended = NOW - timedelta(seconds=1 + round(hours * 3600 * REACH * random.random()))
    run = run.model_copy(update={"namespace": random.choice(("test", "test", "other"))})
    await end(workers, run, ended)
    done = Done(0, {}, 0, {}) if is_cancelled else KINDS[kind].done(neighbours, run, hits(neighbours) - before)
    return Ran(run.name, run.namespace, owner, queue, ended, 0 if is_cancelled else len(names), done, is_cancelled)


def hits(neighbours: Neighbours) -> Counter[int]:
    """How often the mail server has said which code."""
    return Counter({rule["status"]: rule["hits"] for rule in neighbours.faults()["smtp"]})


class Type(NamedTuple):
    """How a run of a type is made, and what the ledgers say it did; `hits`: what the mail server refused of it."""

    spec: Callable[[Neighbours, Sequence[str]], dict[str, Any]]
    done: Callable[[Neighbours, Run, Counter[int]], Done]


def mailed(neighbours: Neighbours, run: Run, said: Counter[int]) -> Done:
    """Of mails."""
    sent = len({row["item"] for row in neighbours.ledger("smtp") if row["item"].startswith(f"<{run.uid}.")})
    return Done(sent, {"refused": said[550]}, said[451], {"emailsSent": sent})


def annotated(neighbours: Neighbours, run: Run, _: Counter[int]) -> Done:
    """Of requests."""
    rows = asked(neighbours, run)
    answered = {row["item"] for row in rows if row["status"] == 200}
    everything = {row["item"] for row in rows}
    usage = {"requests": len(rows), "tokens": sum(row.get("tokens", 0) for row in rows)}
    return Done(len(answered), {"upstream": len(everything - answered)}, len(rows) - len(everything), usage)


def exported(neighbours: Neighbours, run: Run, _: Counter[int]) -> Done:
    """Of files."""
    parts = [row for row in neighbours.ledger("s3") if f"/{run.folder}/part-" in row["key"]]
    rows = sum(neighbours.get_object(row["bucket"], row["key"]).count(b"\r\n") - 1 for row in parts)
    return Done(rows, {}, 0, {"rowsExported": rows, "bytesWritten": sum(row["size"] for row in parts)})


def to_bucket(neighbours: Neighbours, names: Sequence[str]) -> dict[str, Any]:
    """An export of these items."""
    found: dict[str, Any] = manifests.export("e", _source(names))["spec"]
    found["export"] |= {"rowsPerFile": 5}
    found["export"]["destination"]["endpoint"] = f"http://127.0.0.1:{neighbours.ports['s3']}"
    return found


def _source(names: Sequence[str]) -> dict[str, Any]:
    return {
        "items": [{"id": name, "data": {"text": name, "email": f"{name}@mail.example", "name": name}} for name in names]
    }


KINDS: Final = {
    "email": Type(lambda neighbours, names: mailing(neighbours, _source(names), {}), mailed),
    "ai-batch": Type(lambda neighbours, names: ai_spec(neighbours, _source(names)), annotated),
    "export": Type(to_bucket, exported),
}


def before_by_the_clock(moment: datetime, window: str, zone: ZoneInfo) -> datetime:
    """Where a window begins that ends at a moment: days go from one time of the day to the same one."""
    if window.endswith("h"):
        return moment - timedelta(hours=WINDOWS[window])
    there = moment.astimezone(zone)
    day = there.date() - timedelta(days=WINDOWS[window] // 24)
    return datetime.combine(day, there.time(), zone).astimezone(UTC)


def count(mine: Sequence[Ran], window: str, zone: ZoneInfo, begins: datetime) -> dict[str, Any]:
    """Every figure by its name, from the ledgers. `begins`: when the first run ended of anybody's."""
    since = before_by_the_clock(NOW, window, zone)
    earliest = before_by_the_clock(since, window, zone)
    length, length_before = NOW - since, since - earliest
    now = [ran for ran in mine if ran.ended >= since]
    before = [ran for ran in mine if earliest <= ran.ended < since] if begins <= earliest else None
    found = add_up("total", now, length)
    if before is not None:
        found |= add_up("before", before, length_before)
    for queue in {ran.queue for ran in now}:
        found |= add_up(f"queue {queue}", [ran for ran in now if ran.queue == queue], length)
        if before is not None:
            found |= add_up(f"queue {queue} before", [ran for ran in before if ran.queue == queue], length_before)
    classes, classes_before = (_sum(ran.done.failures for ran in runs) for runs in (now, before or []))
    for name in {*classes, *classes_before}:
        found[f"failures {name}"] = classes[name], classes_before[name] if before is not None else None
    spans: dict[str, tuple[int, int]] = {}
    for ran in now:
        span, known = _span(ran.ended, length, zone), spans.get(_span(ran.ended, length, zone), (0, 0))
        spans[span] = known[0] + ran.done.succeeded, known[1] + ran.failed
    found |= {f"span {name}": both for name, both in spans.items() if any(both)}
    worst = sorted((ran for ran in now if ran.failed), key=lambda ran: (-ran.failed, NOW - ran.ended))[:LISTED]
    for place, ran in enumerate(worst):
        found[f"failing {place}"] = ran.namespace, ran.name, ran.queue, ran.owner, ran.failed, ran.items
    return found


def add_up(name: str, runs: Sequence[Ran], window: timedelta) -> dict[str, Any]:
    """The measures of some runs."""
    succeeded, failed = sum(ran.done.succeeded for ran in runs), sum(ran.failed for ran in runs)
    items = succeeded + failed
    usage = _sum(ran.done.usage for ran in runs)
    found = {
        "runs": len(runs),
        "succeeded_runs": sum(not ran.failed and not ran.is_cancelled for ran in runs),
        "failed_runs": sum(ran.failed > 0 for ran in runs),
        "cancelled_runs": sum(ran.is_cancelled for ran in runs),
        "items": items,
        "succeeded": succeeded,
        "failed": failed,
        "retried": sum(ran.done.retried for ran in runs),
        "success_percent": round(100 * succeeded / items, 6) if items else None,
        "items_per_hour": round(items / (window / timedelta(hours=1)), 6) if items else None,
        "is_timed": items > 0,
        **{f"usage {what}": number for what, number in usage.items()},
    }
    return {f"{name}: {field}": figure for field, figure in found.items()}


def read(figures: Figures) -> dict[str, Any]:
    """The same, as a report says it."""
    found = measured("total", figures.total)
    if figures.before is not None:
        found |= measured("before", figures.before)
    for queue in figures.queues:
        found |= measured(f"queue {queue.queue}", queue.now)
        if queue.before is not None:
            found |= measured(f"queue {queue.queue} before", queue.before)
    found |= {f"failures {one.error_class}": (one.items, one.before) for one in figures.failures}
    window = datetime.fromisoformat(figures.until) - datetime.fromisoformat(figures.since)
    for span in figures.spans:
        if span.succeeded or span.failed:
            name = _span(datetime.fromisoformat(span.start), window, ZoneInfo(figures.time_zone))
            found[f"span {name}"] = span.succeeded, span.failed
    for place, one in enumerate(figures.failing_jobs):
        found[f"failing {place}"] = one.namespace, one.name, one.queue, one.owner, one.failed, one.total
    return found


def measured(name: str, measures: Measures) -> dict[str, Any]:
    """What a report says of some runs. The ledger of requests counts tokens of question and answer together."""
    usage = Counter(measures.usage)
    if tokens := usage.pop("promptTokens", 0) + usage.pop("completionTokens", 0):
        usage["tokens"] = tokens
    found = measures.model_dump(include={"runs", "succeeded_runs", "failed_runs", "cancelled_runs", "items"})
    found |= measures.model_dump(include={"succeeded", "failed", "retried"})
    for field in ("success_percent", "items_per_hour"):
        value = getattr(measures, field)
        found[field] = None if value is None else round(value, 6)
    found["is_timed"] = measures.p95_seconds is not None and 0 < (measures.p50_seconds or 0) <= measures.p95_seconds
    found |= {f"usage {what}": number for what, number in usage.items()}
    return {f"{name}: {field}": figure for field, figure in found.items()}


def _sum(counts: Iterable[dict[str, int]]) -> Counter[str]:
    """Without what is 0: of what nothing was counted, nothing is said."""
    found = Counter[str]()
    for one in counts:
        found.update(one)
    return +found


def _span(moment: datetime, window: timedelta, zone: ZoneInfo) -> str:
    """The hour or the day of a moment, as clocks there have it."""
    there = moment.astimezone(zone)
    return f"{there:%Y-%m-%dT%H %z}" if window < BY_DAYS else there.date().isoformat()
