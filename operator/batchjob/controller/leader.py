"""One leader among the replicas, by a Lease.

Only our own clock counts, one that goes on while the machine is suspended: a Lease is over when we have seen it
unchanged for as long as it says, whatever the clocks of two nodes think of each other. A leader that could not renew in
time, by then or when it wakes from standing still, may not write any more (`may_write`, which the doors to Kubernetes
and to the store ask right before each call) and stops its work, all before anybody else may take over. On a clean stop
the Lease is given back, so that the next one need not wait, and not kept for work that does not end; whoever comes back
under the same name takes its own Lease at once.

What was sent is out of our hands. The time between a renewal's limit and the end of the Lease (`seconds` less
`renew_seconds`) is for calls that are under way. Bytes that the kernel had when the whole machine was frozen may arrive
after it, a write of each connection at most; such a write names the version or the uid of what it changes, makes what
already has its name, or says what is so anyway.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from batchjob import log
from batchjob.errors import AlreadyExists, Conflict, KubernetesError, NotFound
from batchjob.kube import LEASES, Kube
from batchjob.metrics import IS_LEADER

logger = log.get(__name__)
NOBODY: Final = ""
OVER: Final = float("-inf")
STOP_SECONDS: Final = 1.0  # for what we did as the leader to end; then the Lease goes back all the same
RELEASE_SECONDS: Final = 5.0  # for giving it back: who waits for its end instead waits three times as long


def boot_seconds() -> float:
    """Seconds since the machine was started; where the system can tell, with those for which it was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class LeaseSettings:
    """Name, our identity and the times of the Lease."""

    namespace: str
    name: str
    identity: str
    seconds: float = 15.0  # how long a silent leader keeps it
    renew_seconds: float = 10.0  # a leader that could not renew for so long stops
    retry_seconds: float = 2.0


def lease_duration(seconds: float) -> int:
    """What a Lease can say of so many seconds: whole ones."""
    return max(1, round(seconds))


class Leader:
    """Runs `lead` while we hold the Lease."""

    def __init__(self, kube: Kube, settings: LeaseSettings, clock: Callable[[], float] = boot_seconds) -> None:
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._seen: tuple[str, float] | None = None  # (resourceVersion, when we first saw it)
        self._version = ""  # of the Lease as we wrote it
        self._until = OVER  # when we have to stop, unless we renew it

    def may_write(self) -> bool:
        """Whether nobody else can lead yet."""
        return self._clock() < self._until

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Stand by, lead, stand by again, for ever; a cancelled run gives the Lease back."""
        while True:
            asked_at = self._clock()  # others may count from here on, however late the answer comes
            if await self._try_to_acquire() and self._clock() < asked_at + self._settings.renew_seconds:
                await self._lead(lead, asked_at)
            # Who only reads may look twice as often as a leader writes: one that leaves is followed the sooner.
            await asyncio.sleep(self._settings.retry_seconds / 2)

    async def _lead(self, lead: Callable[[], Awaitable[None]], asked_at: float) -> None:
        logger.info("leading", identity=self._settings.identity)
        IS_LEADER.set(1)
        self._until = asked_at + self._settings.renew_seconds
        work = asyncio.ensure_future(lead())
        renewal = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait((work, renewal), return_when=asyncio.FIRST_COMPLETED)
        finally:
            IS_LEADER.set(0)
            self._until = OVER
            held = not renewal.done()
            for task in (work, renewal):
                task.cancel()
            _, left = await asyncio.wait((work, renewal), timeout=STOP_SECONDS)
            if held:
                await self._release()
            if left:  # it can write no more; to lead beside it would be two of us
                logger.warning("what was done as the leader does not end; waiting for it")
                await asyncio.gather(work, renewal, return_exceptions=True)
            logger.info("no longer leading", identity=self._settings.identity)
        if not work.cancelled() and (error := work.exception()):
            raise error

    async def _try_to_acquire(self) -> bool:
        try:
            lease = await self._kube.get(LEASES, self._settings.namespace, self._settings.name)
        except NotFound:
            return await self._create()
        except KubernetesError as error:
            logger.warning("cannot read the lease", error=str(error))
            return False
        if not self._may_take(lease):
            return False
        spec = _spec_of(lease)
        transitions = spec.get("leaseTransitions", 0)
        mine = spec.get("holderIdentity") == self._settings.identity
        return await self._write(lease["metadata"]["resourceVersion"], transitions + (0 if mine else 1))

    def _may_take(self, lease: dict[str, Any]) -> bool:
        spec, version = _spec_of(lease), lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, self._clock())
        holder = spec.get("holderIdentity") or NOBODY
        silent = self._clock() - self._seen[1]
        return holder in (NOBODY, self._settings.identity) or silent >= spec.get("leaseDurationSeconds", 0)

    async def _create(self) -> bool:
        metadata = {"name": self._settings.name, "namespace": self._settings.namespace}
        lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": self._spec(0)}
        try:
            created = await self._kube.create(LEASES, self._settings.namespace, lease)
        except AlreadyExists:
            return False
        except KubernetesError as error:
            logger.warning("cannot make the lease", error=str(error))
            return False
        self._version = created["metadata"]["resourceVersion"]
        return True

    async def _write(self, version: str, transitions: int) -> bool:
        try:
            await self._patch(self._spec(transitions), version)
        except KubernetesError as error:
            logger.info("the lease was not taken", error=str(error))
            return False
        return True

    async def _keep(self) -> None:
        """Renew until that fails for too long, or somebody else wrote the Lease."""
        limit = self._settings.renew_seconds
        while (left := self._until - self._clock()) > 0:
            await asyncio.sleep(min(self._settings.retry_seconds, left))
            asked_at = self._clock()
            try:
                # A call that hangs may take half of the time: the rest is for another.
                async with asyncio.timeout(min(self._until - asked_at, limit / 2)):
                    await self._patch({"renewTime": _micro_time()}, self._version)
            except (Conflict, NotFound) as error:
                if await self._is_still_ours():
                    continue
                logger.warning("the lease was taken away", error=str(error))
                return
            except (TimeoutError, KubernetesError) as error:
                logger.warning("renewing the lease failed", error=repr(error))
            else:
                self._until = asked_at + limit
        logger.warning("the lease could not be renewed in time")

    async def _is_still_ours(self) -> bool:
        """Whether the Lease is ours, though it may have changed: the answer to an earlier renewal was lost."""
        try:
            async with asyncio.timeout(self._settings.retry_seconds):
                return await self._is_held()
        except (KubernetesError, TimeoutError):
            return False

    async def _is_held(self) -> bool:
        lease = await self._kube.get(LEASES, self._settings.namespace, self._settings.name)
        self._version = lease["metadata"]["resourceVersion"]
        return bool(_spec_of(lease).get("holderIdentity") == self._settings.identity)

    async def _release(self) -> None:
        spec = {"holderIdentity": NOBODY, "leaseDurationSeconds": 1, "renewTime": _micro_time()}
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                while await self._is_held():
                    with suppress(Conflict):  # a renewal of ours, cancelled on its way, came between
                        await self._patch(spec, self._version)
                        return
        except (KubernetesError, TimeoutError) as error:
            logger.warning("the lease was not given back", error=repr(error))

    async def _patch(self, spec: dict[str, Any], version: str) -> None:
        """Write `spec` unless the Lease has changed since `version`: Conflict."""
        lease = await self._kube.patch(
            LEASES, self._settings.namespace, self._settings.name, {"spec": spec}, resource_version=version
        )
        self._version = lease["metadata"]["resourceVersion"]

    def _spec(self, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._settings.identity,
            "leaseDurationSeconds": lease_duration(self._settings.seconds),
            "acquireTime": _micro_time(),
            "renewTime": _micro_time(),
            "leaseTransitions": transitions,
        }


def _spec_of(lease: dict[str, Any]) -> dict[str, Any]:
    """What a Lease says; one that somebody made by hand may say nothing."""
    spec: dict[str, Any] = lease.get("spec") or {}
    return spec


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
