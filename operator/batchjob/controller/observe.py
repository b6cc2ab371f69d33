"""Looking: one read of each source (body, Jobs, store, references, pods, clock) into one `Observed`.

What matters only in some states is read only in those: references until the first Job is made, pods where none
starts, the parent where there is one.
"""

import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from batchjob import log
from batchjob.api.queue import BatchQueueSpec
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.actions import Plan, SetSlots
from batchjob.controller.children import (
    is_held,
    newest_child,
    what_misconfigured_pod_said,
    why_killed,
    why_not_created,
    why_not_starting,
)
from batchjob.controller.informer import Informer
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.manifests import UID_LABEL
from batchjob.controller.observed import (
    POD_CHECK_SECONDS,
    RATE_WINDOW_SECONDS,
    ChildJob,
    Ended,
    Observed,
    Parent,
    Trouble,
)
from batchjob.controller.parents import build_parent
from batchjob.controller.plan import POD_FAILURE_POLICY
from batchjob.controller.queues import Queues
from batchjob.controller.references import References
from batchjob.controller.schedules.turns import Turns
from batchjob.controller.status import seconds_since
from batchjob.controller.users import Users
from batchjob.core.items import ENDED
from batchjob.core.progress import finished
from batchjob.core.ranges import Pair
from batchjob.core.records import Tally
from batchjob.core.snapshot import Snapshot
from batchjob.errors import Forbidden, StoreDamaged, StoreNotReady, StoreUnavailable
from batchjob.kube import CORE_EVENTS, NAMESPACES, PODS, Kube
from batchjob.store import Store

CHECKPOINT_SECONDS: Final = 5.0
UNDONE_SECONDS: Final = 10.0  # who changes our Job back each time gets no answer at once: nobody wins such a race
# A store that hangs costs each call its time limit: while it is silent, one look in so many seconds asks it.
SILENCE_PAUSE_SECONDS: Final = 5.0

logger = log.get(__name__)


class Memory:
    """What an operator remembers of a run between two looks. Losing it at a restart costs one early write."""

    def __init__(self) -> None:
        self._written_at = float("-inf")
        self._samples: deque[tuple[float, int]] = deque()
        self._owes_until: float | None = None
        self._slots: tuple[SetSlots | None, float] = None, float("-inf")  # as we set them last, and when
        self.references = References()
        self.certain: list[Pair] | None = None
        self.certain_at = float("-inf")  # when that was asked for

    def carried_out(self, done: Plan) -> None:
        """What a plan set a Job's slots to is remembered."""
        self._slots = next(((a, time.monotonic()) for a in done.actions if isinstance(a, SetSlots)), self._slots)

    def patient(self, plan: Plan) -> Plan:
        """Without what we set just now and somebody has set back: that is set later once more."""
        wish, at = self._slots
        left = at + UNDONE_SECONDS - time.monotonic()
        if wish not in plan.actions or left <= 0:
            return plan
        again = min(left, plan.again_seconds or left)
        return replace(plan, actions=tuple(a for a in plan.actions if a != wish), again_seconds=again)

    def owe(self, seconds: float) -> None:
        """The status is to be written in so many seconds."""
        self._owes_until = time.monotonic() + seconds

    def owes_seconds(self) -> float | None:
        """Seconds until then; None where nothing is owed."""
        return None if self._owes_until is None else self._owes_until - time.monotonic()

    def written(self) -> None:
        """The status was written now."""
        self._written_at = time.monotonic()
        self._owes_until = None

    def since_write_seconds(self) -> float:
        """Seconds since the status was written; infinite if it was not by us."""
        return time.monotonic() - self._written_at

    def rate(self, done: int) -> float | None:
        """Items finished a second in the last window; None until there are two samples a second apart."""
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_WINDOW_SECONDS:  # noqa: PLR2004 - a pair
            self._samples.popleft()
        then, before = self._samples[0]
        return max(0, done - before) / (now - then) if now - then >= 1 else None


class Observer:
    """The eyes of the controller."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        users: Users,
        jobs: Informer,
        known: KnownBatchJobs,
        queues: Queues,
        turns: Turns,
    ) -> None:
        self._kube = kube
        self._queues = queues
        self._store = store
        self._users = users
        self._jobs = jobs
        self._known = known
        self._turns = turns
        self._silent_since: float | None = None
        self._ask_again_at = 0.0

    async def observe(self, entry: Entry, memory: Memory) -> Observed:
        """Everything that decides about a BatchJob. Errors: ValidationError, BatchJobError."""
        job, now = entry.parse(), datetime.now(UTC)
        snapshot, silent, damage = await self._snapshot(entry.uid)
        try:
            certain = await self._certain(job, snapshot, memory)
        except StoreDamaged as error:
            certain, damage = None, str(error)
        has_ended = snapshot is not None and snapshot.state in ENDED
        tally = await self._tally(entry.uid) if has_ended else Tally()
        child = self._child(entry, now)
        stuck = _no_pod_starts(child, snapshot)
        troubled = child if child and (stuck or child.is_losing) else None
        pods = await self._pods(entry) if troubled else []
        started = child is not None or bool(job.status and job.status.store_epoch)
        parent, queue = self._parent(job, now), self._queues.spec(entry.queue)
        return Observed(
            job=job,
            inline=entry.inline,
            now=now,
            fresh_epoch=secrets.token_hex(8),
            snapshot=snapshot,
            tally=tally,
            certain=certain,
            damage=damage,
            store_silent_seconds=silent,
            admitted=await self._admitted(entry, queue, stuck=stuck),
            child=child,
            missing=None if started and not stuck else await self._missing(memory, job, parent),
            parent=parent,
            previous=None if started else self._turns.before(entry),
            circle=self._known.circle((entry.namespace, entry.name)),
            pods=await self._pod_trouble(entry.namespace, troubled, pods, stuck=stuck) if troubled else None,
            leaving=is_held(pods) and await self._is_leaving(entry.namespace),
            misconfigured=await self._misconfigured(entry, child),
            since_write_seconds=memory.since_write_seconds(),
            rate=memory.rate(finished(snapshot.counts)) if snapshot else None,
            queue=queue,
            queue_unreadable=self._queues.is_unreadable(entry.queue),
        )

    def glance(self, entry: Entry, memory: Memory) -> Observed:
        """What is known of a BatchJob without asking anybody."""
        now, queue = datetime.now(UTC), self._queues.spec(entry.queue)
        child, since = self._child(entry, now), memory.since_write_seconds()
        seen = Observed(job=entry.parse(), inline=entry.inline, now=now, fresh_epoch="", child=child, queue=queue)
        return replace(seen, since_write_seconds=since)

    def _child(self, entry: Entry, now: datetime) -> ChildJob | None:
        jobs = self._jobs.owned_by(entry.namespace, entry.uid)
        return newest_child(jobs, entry.name, entry.uid, entry.jobs_created, now)

    def ended(self, entry: Entry) -> Ended:
        """What is left of a BatchJob that has ended."""
        now = datetime.now(UTC)
        return Ended(
            name=entry.name,
            uid=entry.uid,
            # Of a clock that was set back since, the end is in the future: that is no reason to wait for it.
            seconds=abs(seconds_since(entry.completion_time, now) or 0.0),
            has_user=entry.uid in self._users.present,
            dismissed=entry.uid in self._users.dismissed,
            child=self._child(entry, now),
        )

    async def _snapshot(self, uid: str) -> tuple[Snapshot | None, float | None, str | None]:
        """The snapshot, for how many seconds the store has been silent (None: it answered), and what is damaged."""
        now = time.monotonic()
        if self._silent_since is not None and now < self._ask_again_at:
            return None, now - self._silent_since, None
        try:
            snapshot = await self._ask(uid)
        except (StoreUnavailable, StoreNotReady) as error:  # one that does not let us in is as good as silent
            if self._silent_since is None:
                self._silent_since = time.monotonic()
                logger.warning("the store does not answer", error=str(error))
            self._ask_again_at = time.monotonic() + SILENCE_PAUSE_SECONDS
            return None, time.monotonic() - self._silent_since, None
        except StoreDamaged as error:
            return None, None, str(error)
        self._silent_since = None
        return snapshot, None, None

    async def _ask(self, uid: str) -> Snapshot | None:
        try:
            return await self._store.snapshot(uid)
        except StoreNotReady:  # the store was restarted and has forgotten our scripts
            await self._store.load_scripts()
            return await self._store.snapshot(uid)

    async def _certain(self, job: BatchJob, snapshot: Snapshot | None, memory: Memory) -> list[Pair] | None:
        """What the status should remember in case the store is lost, some seconds old at most."""
        if snapshot is None or not job.spec.has_effects_outside:
            return None
        now = time.monotonic()
        if now - memory.certain_at >= CHECKPOINT_SECONDS:
            memory.certain, memory.certain_at = await self._store.finished(job.metadata.uid), now
        return memory.certain

    async def _missing(self, memory: Memory, job: BatchJob, parent: Parent | None) -> Trouble | None:
        if parent and parent.unreadable:
            return parent.unreadable
        place = parent.results if parent else None
        return await memory.references.find_missing(self._kube, job.metadata.namespace, job.spec, place)

    def _parent(self, job: BatchJob, now: datetime) -> Parent | None:
        name = job.spec.source.parent
        entry = self._known.get((job.metadata.namespace, name)) if name else None
        return build_parent(entry, now) if entry else None

    async def _admitted(self, entry: Entry, queue: BatchQueueSpec | None, *, stuck: bool) -> bool:
        """The Secret is looked for only where pods may miss it; where limits cannot be read, it keeps those it has."""
        limits, is_known = queue.rate_limits if queue else [], not self._queues.is_unreadable(entry.queue)
        if entry.uid not in self._users.present or (is_known and not self._users.have_told(entry.uid, limits)):
            return False
        return not stuck or await self._users.has_secret(entry.namespace, entry.name, entry.uid)

    async def _tally(self, uid: str) -> Tally:
        """What reports will know of it: worth less than that it ends, so what a run's user has broken is left out."""
        try:
            return await self._store.tally(uid)
        except StoreDamaged:
            return Tally()

    async def _is_leaving(self, namespace: str) -> bool:
        try:
            found = await self._kube.get(NAMESPACES, None, namespace)
        except Forbidden:  # rights of an older chart, or of one namespace: then Kubernetes has to see to it
            return False
        return "deletionTimestamp" in found["metadata"]

    async def _pod_trouble(
        self, namespace: str, child: ChildJob, pods: Sequence[dict[str, Any]], *, stuck: bool
    ) -> Trouble | None:
        found = (why_not_starting(pods) if stuck else None) or why_killed(pods)
        if found or not stuck or child.active or child.failed:  # after a failure there is a back-off
            return found
        # Not created, or not again: of a Job with a limit for each index, a pod counts as failed once it is replaced.
        fields = f"involvedObject.uid={child.uid}"
        return why_not_created((await self._kube.list(CORE_EVENTS, namespace, fields=fields)).items)

    async def _misconfigured(self, entry: Entry, child: ChildJob | None) -> str | None:
        if child is None or child.failure is None or child.failure[0] != POD_FAILURE_POLICY:
            return None
        return what_misconfigured_pod_said(await self._pods(entry))

    async def _pods(self, entry: Entry) -> list[dict[str, Any]]:
        return (await self._kube.list(PODS, entry.namespace, labels=f"{UID_LABEL}={entry.uid}")).items


def _no_pod_starts(child: ChildJob | None, snapshot: Snapshot | None) -> bool:
    if child is None or not child.is_starting or child.age_seconds < POD_CHECK_SECONDS:
        return False
    return snapshot is None or not snapshot.counts.active
