"""The door to Redis: runs and their items. Nothing else in the house speaks to it.

A run's items live in chunks under leases with fencing tokens. Every change to a run is one Lua script over the keys
of that run's hash tag (`keys.py` lists them), so the counts conserve at every moment and a process may be killed at
any line. The operator uses `Store`; a worker, which may touch one run only, uses `Store.run()`.
"""

from batchjob.core.events import RunEvent
from batchjob.core.snapshot import LastError, Snapshot
from batchjob.store.audit import AuditEntry, AuditFilter, AuditPage
from batchjob.store.index import Index, Page
from batchjob.store.keys import user_name
from batchjob.store.live import LiveEntry, LiveStore, Telling
from batchjob.store.load import LoadLease
from batchjob.store.run import Commit, Grant, Progress, RunStore, Standing
from batchjob.store.runs import Store
from batchjob.store.seal import SealLease, Taken
from batchjob.store.snapshot import DeadLetter, ItemResult

__all__ = [
    "AuditEntry",
    "AuditFilter",
    "AuditPage",
    "Commit",
    "DeadLetter",
    "Grant",
    "Index",
    "ItemResult",
    "LastError",
    "LiveEntry",
    "LiveStore",
    "LoadLease",
    "Page",
    "Progress",
    "RunEvent",
    "RunStore",
    "SealLease",
    "Snapshot",
    "Standing",
    "Store",
    "Taken",
    "Telling",
    "user_name",
]
