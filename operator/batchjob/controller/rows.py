"""The row that stands for a BatchJob in lists, from an object of the API server's. Pure.

Nothing but its metadata is taken on trust: a newer operator may have written what this one does not know.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from batchjob.api.status import Counts, ErrorClass, Phase
from batchjob.core.records import HIGHEST
from batchjob.core.rows import MOST_FINGERPRINTS, MOST_LABELS, JobRow, fingerprint

MOST_CHARACTERS: Final = 512  # of what a BatchJob is found by: more than any field may have
COUNTS: Final = tuple(Counts.model_fields.keys() & set(JobRow.__struct_fields__))


def build_row(body: Mapping[str, Any]) -> JobRow:
    """The row of a BatchJob."""
    metadata, spec, status = body["metadata"], mapping(body.get("spec")), mapping(body.get("status"))
    counts, created = mapping(status.get("counts")), moment(metadata.get("creationTimestamp"))
    return JobRow(
        phase=_text(status.get("phase")) or Phase.PENDING,
        queue=queue_of(spec),
        owner=_text(spec.get("owner")) or None,
        namespace=metadata["namespace"],
        type=_text(spec.get("type")),
        reason=_text(reason_of(status)),
        labels=_labels(mapping(metadata.get("labels"))),
        errors=_errors(status.get("lastErrors") or ()),
        name=metadata["name"],
        uid=metadata["uid"],
        created=int(created.timestamp()) if created else 0,
        started=_seconds(status.get("startTime")),
        ended=_seconds(status.get("completionTime")),
        **{name: _number(counts.get(name)) for name in COUNTS},
    )


def queue_of(spec: Mapping[str, Any]) -> str:
    """The queue that a BatchJob waits in."""
    return _text(spec.get("queueName") or spec.get("type"))


def reason_of(status: Mapping[str, Any]) -> str | None:
    """The reason of the first condition that holds."""
    conditions = map(mapping, status.get("conditions") or ())
    return next((condition.get("reason") for condition in conditions if condition.get("status") == "True"), None)


def moment(text: object) -> datetime | None:
    """A time with its zone; None where it is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def mapping(value: object) -> dict[str, Any]:
    """A JSON object; empty where it is none."""
    return value if isinstance(value, dict) else {}


def _labels(labels: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{key}={_text(value)}" for key, value in sorted(labels.items())[:MOST_LABELS])


def _errors(errors: Iterable[Any]) -> tuple[str, ...]:
    """Classes that are known, and fingerprints of the newest (first), each once and sorted: their order is no news."""
    texts = ((_text(error.get("errorClass")), _text(error.get("message"))) for error in map(mapping, errors))
    pairs = dict.fromkeys(texts)
    prints = dict.fromkeys(fingerprint(*pair) for pair in pairs)
    return tuple(sorted({*list(prints)[:MOST_FINGERPRINTS], *({name for name, _ in pairs} & set(ErrorClass))}))


def _text(value: object) -> str:
    return value[:MOST_CHARACTERS] if isinstance(value, str) else ""


def _number(value: object) -> int:
    return max(0, min(value, HIGHEST)) if type(value) is int else 0


def _seconds(text: object) -> int | None:
    found = moment(text)
    return int(found.timestamp()) if found else None
