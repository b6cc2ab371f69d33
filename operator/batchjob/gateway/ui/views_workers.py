"""Worker pods, as they are shown. Pure: bodies of the API server's, of which anything may be missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from batchjob.api.base import GROUP
from batchjob.gateway.ui import words
from batchjob.gateway.ui.views_jobs import job_path

SELECTOR: Final = f"{GROUP}/uid"  # a label that every worker pod has
_NAME: Final = f"{GROUP}/name"
_SLOT: Final = "batch.kubernetes.io/job-completion-index"
_STATES: Final = {"Running": "active", "Pending": "waiting", "Succeeded": "good", "Failed": "bad"}


@dataclass(frozen=True)
class PodLine:
    """A pod."""

    name: str
    namespace: str
    job: str
    job_path: str
    slot: str
    node: str
    phase: str
    state: str
    detail: str
    restarts: int
    started: words.When | None
    heard: words.When | None  # its last sign of life


def uids_of(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """The runs that some pods work on."""
    found = (str((pod["metadata"].get("labels") or {}).get(SELECTOR, "")) for pod in pods)
    return sorted({uid for uid in found if uid})


def build_pods(
    pods: Sequence[Mapping[str, Any]], now: float, heard: Mapping[str, float] = MappingProxyType({})
) -> tuple[PodLine, ...]:
    """Pods: those that run first, then by BatchJob and slot. `heard`: signs of life by the name of a pod."""
    lines = [_line(pod, now, heard) for pod in pods]
    order = ("Running", "Pending")
    return tuple(
        sorted(
            lines,
            key=lambda line: (
                order.index(line.phase) if line.phase in order else len(order),
                line.namespace,
                line.job,
                int(line.slot) if line.slot.isdecimal() else 0,
                line.name,
            ),
        )
    )


def _line(pod: Mapping[str, Any], now: float, heard: Mapping[str, float]) -> PodLine:
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
    containers = status.get("containerStatuses") or ()
    phase, job = str(status.get("phase") or "Pending"), str(labels.get(_NAME, ""))
    return PodLine(
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        job=job,
        job_path=job_path(metadata.get("namespace", ""), job) if job else "",
        slot=str(labels.get(_SLOT, "")),
        node=str((pod.get("spec") or {}).get("nodeName") or ""),
        phase="Ending" if metadata.get("deletionTimestamp") else phase,
        state="quiet" if metadata.get("deletionTimestamp") else _STATES.get(phase, "quiet"),
        detail=_detail(status, containers),
        restarts=sum(int(one.get("restartCount") or 0) for one in containers),
        started=words.since(status.get("startTime") or metadata.get("creationTimestamp"), now),
        # The store's clock may be ahead of ours by a little: nobody was heard in the future.
        heard=words.when(min(heard[metadata["name"]], now), now) if metadata["name"] in heard else None,
    )


def _detail(status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> str:
    """Why it does not run: what its container or the scheduler says."""
    for container in containers:
        state = container.get("state") or {}
        told = state.get("waiting") or state.get("terminated") or {}
        if told.get("reason") and told["reason"] != "Completed":
            return ": ".join(str(told[key]) for key in ("reason", "message") if told.get(key))
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""
