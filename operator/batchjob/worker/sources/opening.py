"""From a run's spec to its source."""

from pathlib import Path

from batchjob.api.run import Run
from batchjob.errors import InvalidSource
from batchjob.worker.sources.inline import InlineSource
from batchjob.worker.sources.source import Source


def open_source(run: Run, references_dir: Path) -> Source:
    """The run's source, not read yet."""
    source = run.spec.source
    if source.items is not None:
        return InlineSource(source.items)
    raise InvalidSource("spec.source names no source")
