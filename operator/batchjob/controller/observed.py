"""What a reconcile knows when it decides. Values only: `observe` fills them in, `plan` and `status` read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from batchjob.api.base import GROUP
from batchjob.api.defaults import effective
from batchjob.api.queue import BatchQueueSpec, QueueDefaults
from batchjob.api.run import ParentResults
from batchjob.api.status import Effective
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.light import Inline
from batchjob.core.admission import Place
from batchjob.core.ranges import Pair
from batchjob.core.reasons import Reason
from batchjob.core.records import Tally
from batchjob.core.snapshot import Snapshot

# What a child Job remembers, so that a later operator can tell whether it got anything done.
FINISHED_BEFORE: Final = f"{GROUP}/finished-before"  # items that were terminal when it was made
EPOCH: Final = f"{GROUP}/epoch"  # of the store
FRUITLESS_BEFORE: Final = f"{GROUP}/fruitless-before"  # Jobs in a row before it that finished none

MAX_FRUITLESS_JOBS: Final = 3
RATE_WINDOW_SECONDS: Final = 20.0  # of items a second: long enough to be steady, short enough to be "lately"
POD_CHECK_SECONDS: Final = 10.0  # a pod that takes longer to start is looked at


@dataclass(frozen=True)
class ChildJob:
    """The newest Job of a run."""

    index: int  # 0 for the first
    name: str
    uid: str
    version: str  # of the object, as we know it
    suspended: bool
    kueue: str | None  # the LocalQueue whose Kueue suspends it and lets it go on; None: we do
    parallelism: int
    active: int
    ready: int
    failed: int  # pods
    begun: bool  # Kubernetes has come to it: it made pods, or tried to
    age_seconds: float  # since then, else since its creation
    ended: bool
    failure: tuple[str, str] | None  # reason and message of its condition Failed
    epoch: str  # of the store, for which it was made
    finished_before: int
    fruitless_before: int

    @property
    def is_starting(self) -> bool:
        """Whether pods should run and none does yet; while Kubernetes has not come to it, nothing can be wrong."""
        return self.begun and not self.ended and not self.suspended and self.ready == 0

    @property
    def is_losing(self) -> bool:
        """Whether pods of it, or the Job before it, have failed and none works now."""
        return not self.suspended and self.ready == 0 and bool(self.failed or self.index)

    @property
    def next_check_seconds(self) -> float:
        """When to look why no pod runs: after 10 s, then less and less often."""
        return max(POD_CHECK_SECONDS - self.age_seconds, min(POD_CHECK_SECONDS + self.age_seconds / 2, 60.0))


@dataclass(frozen=True)
class Trouble:
    """Something that keeps a run from going on, and what to do about it."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Parent:
    """The BatchJob whose results or dead letters are the source."""

    uid: str
    type: str
    ended: bool
    complete: bool
    owner: str | None = None
    results: ParentResults | None = None  # where they are, if they have a destination
    expired: str | None = None  # when what it left was removed; None: it is there
    unreadable: Trouble | None = None  # why nobody knows where its results are


@dataclass(frozen=True)
class Ended:
    """A BatchJob that has ended, and what is left of it."""

    name: str
    uid: str
    seconds: float  # since the end
    has_user: bool  # in the store, which forgets it at a restart
    dismissed: bool  # its Secret and user were removed since we lead
    child: ChildJob | None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One BatchJob and everything that decides about it, at one moment."""

    job: BatchJob  # without its items in the manifest
    inline: Inline = Inline()  # noqa: RUF009 - frozen; what is known of those
    now: datetime
    fresh_epoch: str  # random; used if the run has to be opened
    snapshot: Snapshot | None = None  # None: the store does not know the run, or did not answer
    tally: Tally = Tally()  # noqa: RUF009 - frozen; only of a run that has ended in the store
    certain: Sequence[Pair] | None = None  # items that need never run again; only where they have effects outside
    damage: str | None = None  # what makes no sense in the store; `snapshot` is None then
    store_silent_seconds: float | None = None  # how long the store has not answered; None: it did
    admitted: bool = False  # whether the run has its user in the store and its Secret
    child: ChildJob | None = None
    missing: Trouble | None = None  # a reference that does not exist; looked for before the first Job, then as `pods`
    parent: Parent | None = None  # only where the source is another BatchJob
    previous: str | None = None  # the BatchJob that has its turn before this one, in the queue of a BatchSchedule
    circle: Sequence[str] = ()  # names of BatchJobs that wait for each other, beginning with this one
    pods: Trouble | None = None  # why no worker starts; looked for where none does
    leaving: bool = False  # its namespace is being deleted, and the child is in the way
    misconfigured: str | None = None  # what the pod said that ended with EXIT_CONFIGURATION
    queue: BatchQueueSpec | None = BatchQueueSpec()  # noqa: RUF009 - frozen; None: there is no such queue that we know
    queue_unreadable: bool = False  # there is, and what it says is not known
    place: Place | None = None  # in its queue; None: it does not want to run now
    wait_seconds: float | None = None  # until its turn, at the pace of late
    since_write_seconds: float = float("inf")  # since we last wrote the status
    rate: float | None = None  # items finished a second, lately

    @property
    def began(self) -> datetime:
        """When the run did, as its Job tells; now where there is none."""
        return self.now - timedelta(seconds=self.child.age_seconds if self.child else 0)

    @cached_property
    def in_force(self) -> Effective:
        """The values in force: of a run that has started those of its start, whatever its queue says by now."""
        found = effective(self.job.spec, self.queue.defaults if self.queue else QueueDefaults())
        status = self.job.status
        if status is None or status.effective is None or not status.store_epoch:
            return found
        origins = status.effective.origins | {"priority": found.origins["priority"]}
        return status.effective.model_copy(update={"priority": found.priority, "origins": origins})
