"""Our copy of the runs' Jobs: only what is read of them, so that thousands that ended take little room.

A change of the rest is no news. While a Job starts and ends, Kubernetes keeps books of its own in the status; a look
at each of its lines would cost more than the looks that decide something.
"""

from typing import Any, Final

from batchjob.controller.manifests import KUEUE_LABEL

KEPT: Final = {
    "metadata": (
        *("name", "namespace", "uid", "resourceVersion", "annotations", "ownerReferences"),
        *("creationTimestamp", "deletionTimestamp"),
    ),
    "spec": ("suspend", "parallelism"),
    "status": ("startTime", "active", "ready", "failed", "conditions"),
}


def shorten(job: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a Job."""
    kept = {
        part: {name: job[part][name] for name in names if name in job[part]}
        for part, names in KEPT.items()
        if part in job
    }
    if queue := job["metadata"].get("labels", {}).get(KUEUE_LABEL):
        kept["metadata"]["labels"] = {KUEUE_LABEL: queue}
    return kept
