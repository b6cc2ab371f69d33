"""What queues promise, held against every version of every BatchJob and Job of a run of some hundred BatchJobs.

Pods have no part in it: what counts is Jobs that may have pods, until they have ended, are suspended or go, whatever
their BatchJobs say by then. The trial itself ends, pauses and deletes BatchJobs, a round of all that run at a time; of
some only the run ends, and their Jobs stay for a while, as where pods are still on their way. Between two rounds, when
nothing more may start, it looks at who did.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from random import Random
from typing import Any, Final, NamedTuple

from batchjob.api.run import StoreAccess
from batchjob.core.reasons import Reason
from batchjob.errors import ApiUnavailable
from batchjob.kube import BATCH_JOBS, BATCH_QUEUES, JOBS, Access, Kube, Resource
from batchjob.store import Store
from tests.prove.control.stage import Place
from tests.support.accounts import SYSTEM
from tests.support.cluster_jobs import own_namespace
from tests.support.kubectl import PATIENCE_SECONDS
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess

# By queue: what it says. All are paused until every BatchJob waits, so that who is late is nobody's fault.
QUEUES: Final[dict[str, dict[str, Any]]] = {
    "fair": {"maxActiveJobs": 1},
    "capped": {"maxActiveJobs": 6, "maxWorkers": 9, "limits": {"maxActiveJobsPerOwner": 2}},
    "narrow": {"maxWorkers": 5},
    "shut": {"maxActiveJobs": 3},
}
NO_LIMIT: Final = 1_000_000
OWNERS: Final = ("carol", "dave", "erin", "frank")
AGAIN_SECONDS: Final = 0.2
LINGER_SECONDS: Final = 3.0  # of a Job whose run has ended: as long as others would need to start
UNTHROTTLED: Final = {"kube_qps": 1000, "kube_burst": 1000, "progress_percent": 1000, "progress_max_seconds": 100_000}


class Sizes(NamedTuple):
    """How many BatchJobs each queue gets."""

    fair: int
    capped: int
    narrow: int
    shut: int


class Event(NamedTuple):
    """What a watch said."""

    version: int
    kind: str
    gone: bool
    object: dict[str, Any]


class Picture:
    """BatchJobs, Jobs and BatchQueues as the events so far tell of them."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {
            kind.kind: {} for kind in (BATCH_JOBS, JOBS, BATCH_QUEUES)
        }

    def apply(self, event: Event) -> None:
        """One event more."""
        name = event.object["metadata"]["name"]
        if event.gone:
            self.objects[event.kind].pop(name, None)
        else:
            self.objects[event.kind][name] = event.object

    def running(self, queue: str) -> dict[str, int]:
        """The BatchJobs whose Job may have pods, and how many."""
        found: dict[str, int] = {}
        for job in self.objects[JOBS.kind].values():
            name = job["metadata"]["labels"]["batchjob.dev/name"]
            run = self.objects[BATCH_JOBS.kind].get(name)
            if run and run["spec"]["queueName"] == queue and _may_have_pods(job):
                found[name] = found.get(name, 0) + job["spec"]["parallelism"]
        return found

    def waiting(self, queue: str) -> list[dict[str, Any]]:
        """The BatchJobs that could run and do not."""
        running = self.running(queue)
        return [
            run
            for name, run in self.objects[BATCH_JOBS.kind].items()
            if run["spec"]["queueName"] == queue and name not in running and not (_has_ended(run) or _is_stopped(run))
        ]

    def paused(self, queue: str) -> list[str]:
        """The BatchJobs that would run if nobody had suspended them."""
        return [
            name
            for name, run in self.objects[BATCH_JOBS.kind].items()
            if run["spec"]["queueName"] == queue and run["spec"].get("suspend") and not _has_ended(run)
        ]

    def fits(self, run: dict[str, Any]) -> bool:
        """Whether its queue has room for it now."""
        queue = run["spec"]["queueName"]
        rules, running = self.rules(queue), self.running(queue)
        return all((
            not rules.get("paused"),
            len(running) < rules.get("maxActiveJobs", NO_LIMIT),
            sum(running.values()) < rules.get("maxWorkers", NO_LIMIT),
            self.owner_has_room(run),
        ))  # fmt: skip

    def owner_has_room(self, run: dict[str, Any]) -> bool:
        """Whether its owner may have one more."""
        queue = run["spec"]["queueName"]
        owners = Counter(self.owner(name) for name in self.running(queue))
        limit: int = self.rules(queue).get("limits", {}).get("maxActiveJobsPerOwner", NO_LIMIT)
        return owners[run["spec"]["owner"]] < limit

    def rules(self, queue: str) -> dict[str, Any]:
        """What the queue says."""
        found: dict[str, Any] = self.objects[BATCH_QUEUES.kind][queue]["spec"]
        return found

    def owner(self, name: str) -> str:
        """The owner of a BatchJob."""
        return str(self.objects[BATCH_JOBS.kind][name]["spec"]["owner"])


def broken(picture: Picture, queue: str) -> str | None:
    """The limit of the queue that is broken; None where all hold."""
    rules, running = picture.rules(queue), picture.running(queue)
    owners = Counter(picture.owner(name) for name in running)
    most = max(owners.values(), default=0)
    if rules.get("paused") and running:  # none here was paused after it had begun
        return f"{queue} is paused, and there are {running}"
    for field, value, limit in (
        ("maxActiveJobs", len(running), rules.get("maxActiveJobs")),
        ("maxWorkers", sum(running.values()), rules.get("maxWorkers")),
        ("maxActiveJobsPerOwner", most, rules.get("limits", {}).get("maxActiveJobsPerOwner")),
    ):
        if limit is not None and value > limit:
            return f"{field} of {queue} is {limit}, and there are {value}: {running}"
    return None


def _has_ended(run: dict[str, Any]) -> bool:
    return run.get("status", {}).get("phase") in {"Succeeded", "Failed", "Cancelled"}


def _is_stopped(run: dict[str, Any]) -> bool:
    spec = run["spec"]
    return bool(spec.get("suspend") or spec.get("cancel") or run["metadata"].get("deletionTimestamp"))


def _may_have_pods(job: dict[str, Any]) -> bool:
    ended = {c["type"] for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    is_over = ended & {"Complete", "Failed"} or "deletionTimestamp" in job["metadata"]
    return not (is_over or job["spec"].get("suspend"))


class Trial:
    """One run, and all that was seen of it."""

    def __init__(self, kube: Kube, store: Store, namespace: str, seed: int) -> None:
        self._kube = kube
        self._store = store
        self._namespace = namespace
        self._random = Random(seed)
        self._moved = asyncio.Event()
        self._resumed: set[str] = set()
        self.events: list[Event] = []
        self.now = Picture()
        self.rounds = 0

    async def follow(self, kind: Resource, namespace: str | None) -> None:
        """Take in what a watch says, for ever; it is asked again while the API server refuses it."""
        listing = await self._kube.list(kind, namespace)
        for item in listing.items:
            self._seen(kind, "ADDED", item)
        version = listing.resource_version
        while True:
            with suppress(ApiUnavailable):  # "storage is (re)initializing", where the CRD is new
                async with aclosing(self._kube.watch(kind, namespace, version, seconds=3600)) as stream:
                    async for event in stream:
                        version = event.object["metadata"]["resourceVersion"]
                        self._seen(kind, event.type, event.object)
            await asyncio.sleep(AGAIN_SECONDS)

    def _seen(self, kind: Resource, what: str, item: dict[str, Any]) -> None:
        if what != "BOOKMARK":
            self.events.append(Event(int(item["metadata"]["resourceVersion"]), kind.kind, what == "DELETED", item))
            self.now.apply(self.events[-1])
            self._moved.set()

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until events make it so."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise TimeoutError(f"waited for {what}; running: {[self.now.running(queue) for queue in QUEUES]}") from None

    async def submit(self, queue: str, owner: str, numbers: Iterable[int]) -> list[str]:
        """BatchJobs of an owner, one after the other; returns their names."""
        names = []
        for number in numbers:
            spec = {"priority": self._random.randint(1, 5), "parallelism": self._random.randint(1, 4)}
            spec |= {"priority": 3, "parallelism": 1} if queue == "fair" else {}
            name = f"{queue}-{owner}-{number:03}"
            await self._kube.create(
                BATCH_JOBS, self._namespace, noop(name, inline(4), queueName=queue, owner=owner, **spec)
            )
            names.append(name)
        return names

    async def rule(self, queue: str, **spec: Any) -> None:
        """Change a queue."""
        await self._kube.patch(BATCH_QUEUES, None, queue, {"spec": spec})
        await self.until(lambda: spec.items() <= self.now.rules(queue).items(), "the change to be seen")

    def is_told(self, names: Sequence[str]) -> bool:
        """Whether each was looked at, and says that it waits or runs."""
        runs = self.now.objects[BATCH_JOBS.kind]
        return all(runs.get(name, {}).get("status", {}).get("phase") in {"Queued", "Running"} for name in names)

    async def settled(self, queues: Sequence[str]) -> None:
        """Wait until nobody waits for whom there is room."""

        def full() -> bool:
            return not any(self.now.fits(run) for queue in queues for run in self.now.waiting(queue))

        await self.until(full, "all for whom there is room to run")

    async def end_round(self, queues: Sequence[str]) -> None:
        """End, pause or delete all that run, and see who comes next."""
        self.rounds += 1
        before = {queue: self.now.running(queue) for queue in queues}
        paused = [name for queue in queues for name in self.now.paused(queue)]
        for names in before.values():
            for name in names:
                await self._stop(name)
        self._resumed |= set(paused)
        for name in paused:
            await self._kube.patch(BATCH_JOBS, self._namespace, name, {"spec": {"suspend": False}})

        def stopped() -> bool:
            return not any(set(before[queue]) & set(self.now.running(queue)) for queue in queues)

        await self.until(stopped, "all that were told to stop to have done so")
        await self.settled(queues)
        for queue in queues:
            self._check_order(queue)

    async def _stop(self, name: str) -> None:
        how = self._random.choices(["cancel", "delete", "suspend", "end"], [5, 2, 2, 2])[0]
        if how == "delete":
            await self._kube.delete(BATCH_JOBS, self._namespace, name)
        elif how == "end":
            await self._end(name)
        elif how == "cancel" or name in self._resumed:  # who was paused once is ended the next time
            await self.cancel(name)
        else:
            await self._kube.patch(BATCH_JOBS, self._namespace, name, {"spec": {"suspend": True}})

    async def _end(self, name: str) -> None:
        """End its run in the store, and have the operator look; its Job stays for LINGER_SECONDS."""
        uid = self.now.objects[BATCH_JOBS.kind][name]["metadata"]["uid"]
        await self._store.fail(uid, Reason.WORKERS_FAILED, "ended by the trial")
        await self._kube.patch(BATCH_JOBS, self._namespace, name, {"metadata": {"annotations": {"trial": "ended"}}})

    async def cancel(self, name: str) -> None:
        """End one."""
        await self._kube.patch(BATCH_JOBS, self._namespace, name, {"spec": {"cancel": True}})

    def _check_order(self, queue: str) -> None:
        """Nobody runs while somebody more urgent waits, of the same owner where owners have a limit.

        Of two owners the one may have been held by that limit when the other began, and be held by the queue's since.
        """
        by_owner = "maxActiveJobsPerOwner" in self.now.rules(queue).get("limits", {})
        held_back = [
            (name, run["metadata"]["name"])
            for name in self.now.running(queue)
            for run in self.now.waiting(queue)
            if run["spec"]["priority"] < self._priority(name)
            and not {name, run["metadata"]["name"]} & self._resumed
            and not (by_owner and run["spec"]["owner"] != self.now.owner(name))
        ]
        assert not held_back, f"the first of each runs while the second waits: {held_back}"

    def _priority(self, name: str) -> int:
        return int(self.now.objects[BATCH_JOBS.kind][name]["spec"]["priority"])


FULL: Final = Sizes(fair=201, capped=60, narrow=30, shut=9)  # three hundred


def trial(place: Place, sizes: Sizes, seed: int) -> dict[str, Any]:
    """One run; AssertionError where a promise is broken, TimeoutError where somebody waits who need not."""
    with own_namespace(place.admin) as jobs:
        namespace = jobs.kubectl.namespace
        for name, spec in QUEUES.items():
            kind = {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchQueue", "metadata": {"name": name}}
            place.admin.apply(kind | {"spec": spec | {"paused": True}})
        told = {"pod_namespace": SYSTEM, "watch_namespaces": namespace, "linger_seconds": LINGER_SECONDS}
        told |= UNTHROTTLED
        try:
            with OperatorProcess(place.account, place.store_url, place.folder, **told):
                found = asyncio.run(live(place, namespace, sizes, seed))
        finally:
            place.admin("delete", "batchqueue", *QUEUES, "--ignore-not-found")
    return {"batchjobs": sum(sizes), "rounds": found.rounds} | held(found.events)


async def live(place: Place, namespace: str, sizes: Sizes, seed: int) -> Trial:
    """Everybody waits, everybody runs."""
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(Kube(Access.from_kubeconfig(place.admin.kubeconfig)))
        store = await stack.enter_async_context(Store.connect(StoreAccess(url=place.store_url), name="trial"))
        run = Trial(kube, store, namespace, seed)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        watches = [
            group.create_task(run.follow(kind, where))
            for kind, where in ((BATCH_QUEUES, None), (BATCH_JOBS, namespace), (JOBS, namespace))
        ]
        await run.until(lambda: all(name in run.now.objects[BATCH_QUEUES.kind] for name in QUEUES), "the queues")
        await take_turns(run, sizes.fair)
        everybody = [
            name
            for queue, size in (("capped", sizes.capped), ("narrow", sizes.narrow), ("shut", sizes.shut))
            for number, owner in enumerate(OWNERS)
            for name in await run.submit(queue, owner, range(number, size, len(OWNERS)))
        ]
        await run.until(lambda: run.is_told(everybody), "everybody to say that they wait")
        await run.rule("fair", maxActiveJobs=10)
        for queue in ("capped", "narrow"):
            await run.rule(queue, paused=False)
        await until_all_have_run(run, ("fair", "capped", "narrow"))
        assert not run.now.running("shut"), "a paused queue starts nothing"
        await run.rule("shut", paused=False)
        await until_all_have_run(run, ("shut",))
        for watch in watches:
            watch.cancel()
    await asyncio.sleep(0.25)  # aiohttp offers nothing to wait on: TLS connections need a moment to close
    return run


async def take_turns(run: Trial, size: int) -> None:
    """Alice submits all but one, then bob submits one: his is next."""
    many = await run.submit("fair", "alice", range(size - 1))
    await run.rule("fair", paused=False)
    await run.until(lambda: bool(run.now.running("fair")) and run.is_told(many), "the first to run, the others to wait")
    [first] = run.now.running("fair")
    [late] = await run.submit("fair", "bob", range(1))
    await run.until(lambda: run.is_told([late]), "bob's to wait")
    await run.cancel(first)
    await run.until(lambda: bool(set(run.now.running("fair")) - {first}), "the next to run")
    assert list(run.now.running("fair")) == [late], "bob's turn, after one of alice's"


async def until_all_have_run(run: Trial, queues: Sequence[str]) -> None:
    """Round after round."""
    await run.settled(queues)
    while any(run.now.running(queue) or run.now.paused(queue) for queue in queues):
        await run.end_round(queues)
    left = [waits for queue in queues for waits in run.now.waiting(queue)]
    assert not left, "they wait for nothing"


def held(events: Iterable[Event]) -> dict[str, Any]:
    """Every version of everything, in the order in which it was written: no limit is ever broken."""
    picture, facts = Picture(), Counter[str]()
    for event in sorted(events, key=lambda event: event.version):
        picture.apply(event)
        facts["events"] += 1
        for queue in picture.objects[BATCH_QUEUES.kind]:
            if queue not in QUEUES:
                continue
            wrong = broken(picture, queue)
            assert wrong is None, f"at version {event.version}: {wrong}"
            running = picture.running(queue)
            for most, now in (("running", len(running)), ("workers", sum(running.values()))):
                facts[f"most_{most}_{queue}"] = max(facts[f"most_{most}_{queue}"], now)
    return dict(facts)
