"""What a run says at its end. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from batchjob.api.status import Counts
from batchjob.core.progress import finished, format_duration, format_rate
from batchjob.core.snapshot import Snapshot
from batchjob.store import DeadLetter

MESSAGE_LIMIT: Final = 160  # characters of an example: the file has all of it


def summarize(name: str, snapshot: Snapshot, letters: Sequence[DeadLetter], seconds: float) -> str:
    """Counts, time and rate; failures by class with an example of each; what was used."""
    lines = [
        f"{name}: {_counts(snapshot.counts, snapshot.total)} in {_duration(seconds)}{_rate(snapshot.counts, seconds)}"
    ]
    if snapshot.bad_items:
        records = "record" if snapshot.bad_items == 1 else "records"
        lines += ["", f"left out: {snapshot.bad_items} bad {records} (spec.source.onBadItem is skip)"]
        lines += [f"  {printable(message)}" for message in snapshot.bad_item_messages]
    if letters:
        lines += ["", *_failures(letters)]
    if snapshot.usage:
        used = ", ".join(f"{what} {amount:,}" for what, amount in sorted(snapshot.usage.items()))
        lines += ["", f"used: {used}"]
    return "\n".join(lines)


def printable(text: str) -> str:
    """Text of somebody else's, such as a server's error, on a terminal: no byte of it moves the cursor."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _counts(counts: Counts, total: int | None) -> str:
    if total is None:
        done = finished(counts)
        return f"{done} done, and the source was not read to its end," if done else "nothing was loaded,"
    parts = [f"{counts.succeeded} of {total} succeeded"]
    left = total - finished(counts)
    told = ((counts.failed, "failed"), (counts.cancelled, "cancelled"), (left, "not done"))
    return ", ".join([*parts, *(f"{number} {what}" for number, what in told if number)])


def _duration(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else format_duration(seconds)  # noqa: PLR2004 - a short time is worth its tenths


def _rate(counts: Counts, seconds: float) -> str:
    done = finished(counts)
    return f" ({format_rate(done / max(seconds, 0.001))})" if done else ""


def _failures(letters: Sequence[DeadLetter]) -> list[str]:
    """A table: how many, the class, and the first item of it."""
    by_class = defaultdict[str, list[DeadLetter]](list)
    for letter in letters:
        by_class[letter.error_class].append(letter)
    rows = [("failed", "class", "for example")]
    for kind, found in sorted(by_class.items(), key=lambda each: -len(each[1])):
        message = printable(" ".join(found[0].message.split()))
        short = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
        rows.append((str(len(found)), kind, f"{printable(found[0].id)}: {short}"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"{number:>{widths[0]}}  {kind:<{widths[1]}}  {example}" for number, kind, example in rows]
