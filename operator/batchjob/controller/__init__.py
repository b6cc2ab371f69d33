"""The operator: it watches BatchJobs, gives each run one Job of worker slots, and tells the truth about both.

    kopf's watch ─► known ─┐
    Jobs' informer ────────┼─► workqueue ─► observe ─► plan (pure) ─► carry out ─► one status write
    the store's changes ───┘

`handlers` and `supervisor` are all that knows kopf; `plan`, `begin`, `ending`, `status`, `manifests`, `children` and
`observed` are pure. Every process may be killed at any line: what is, not what happened, decides the next step.
"""

from batchjob.controller.process import main

__all__ = ["main"]
