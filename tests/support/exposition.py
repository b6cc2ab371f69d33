"""What a process shows at /metrics, and what it has to."""

import re

from batchjob.metrics import METRICS, Process

OURS = ("batchjob_", "queue_")
TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)


def shown(text: str) -> dict[str, str]:
    """The metrics of ours in a text of /metrics, with their types."""
    return {name: kind for name, kind in TYPE.findall(text) if name.startswith(OURS)}


def declared(*processes: Process) -> dict[str, str]:
    """The metrics that these have, with their types."""
    return {metric.name: metric.type for metric in METRICS if set(processes) & set(metric.processes)}
