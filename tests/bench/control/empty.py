"""The least that an operator with kopf can be, as a process: it watches BatchJobs and does nothing with them.

`python -m tests.bench.control.empty <objects a page>`, with KUBECONFIG. The page is ours, since a larger one needs more
memory, and is told, since an import of ours would need some too.
"""

import sys
from typing import Any

sys.modules["kubernetes"] = None  # type: ignore[assignment]  # kopf imports it where it finds it; our image has none

import kopf  # noqa: E402 - after that


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """As little as possible besides watching."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = int(sys.argv[1])


@kopf.on.event("batchjob.dev", "v1alpha1", "batchjobs")
def seen(**_: Any) -> None:
    """Nothing to do."""


if __name__ == "__main__":
    kopf.run(clusterwide=True, standalone=True)
