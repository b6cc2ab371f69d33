"""Where trials take place: an API server, a store, and operators, each behind a proxy of its own.

A scenario acts on a `World`, a namespace of its own. After each of its steps the world waits: the first time, when
nothing is spoilt, until nothing moves any more, and keeps the state; every other time, until the state is that one.
"""

import atexit
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, Self

from kubernetes.client import CustomObjectsApi
from kubernetes.client.exceptions import NotFoundException
from redis import Redis

from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.prove.control.state import State, difference, read, take
from tests.support.accounts import SYSTEM, operator_kubeconfig
from tests.support.cluster_jobs import BATCH_JOBS, LOOK_SECONDS, Jobs, api_client, own_namespace
from tests.support.cluster_schedules import Schedules
from tests.support.crds import install_crds
from tests.support.fault_proxy import Call, FaultProxy
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import batch_job
from tests.support.operator_process import OperatorProcess
from tests.support.pods import PodRunner
from tests.support.redis_server import RedisServer

SETTLED_SECONDS: Final = 1.5  # the operator looks at a run that moves once a second
STABLE_SECONDS: Final = 1.0  # how long an end must stay: whoever came back has looked at everything by then
REACH_SECONDS: Final = 60.0  # a start of the operator, some back-offs and a pod on two busy cores
# Only what changes the phase is written: how far a run is differs from one to the next.
PATHS: Final = {"batchjobs": "/apis/batchjob.dev/v1alpha1", "jobs": "/apis/batch/v1", "secrets": "/api/v1"}
MERGE: Final = "application/merge-patch+json"
LEASE: Final = "batchjob-operator"
NO_PROGRESS: Final = {"progress_percent": 1000, "progress_max_seconds": 100_000}


class Place(NamedTuple):
    """A control plane and a store."""

    admin: Kubectl
    account: Path
    store_url: str
    folder: Path


@contextmanager
def a_place(folder: Path) -> Iterator[Place]:
    """A control plane and a store of a trial's own."""
    (folder / "redis").mkdir()
    server = RedisServer(folder / "redis").start()
    try:
        with ControlPlane(folder / "control-plane") as running:
            admin = Kubectl(kubectl(), running.kubeconfig)
            install_crds(admin)
            yield Place(admin, operator_kubeconfig(running.kubeconfig, admin, folder), server.url, folder)
    finally:
        server.kill()


@cache
def the_place() -> Place:
    """One for all trials of this process, until that ends: to start it takes longer than most of them."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(a_place(Path(stack.enter_context(TemporaryDirectory(prefix="stage-")))))


class Actor:
    """An operator that speaks through a proxy of its own, and comes back when it is killed."""

    def __init__(self, place: Place, name: str, **settings: Any) -> None:
        """Nothing runs yet."""
        self.name = name
        self.proxy = FaultProxy(place.account)
        self._place = place
        self._settings = {"pod_name": name, "pod_namespace": SYSTEM} | NO_PROGRESS | settings
        self._process: OperatorProcess | None = None
        self.kills = 0
        self.is_leaving = False

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
        self.proxy.__exit__()

    @property
    def process(self) -> OperatorProcess:
        """The operator itself."""
        if self._process is None:
            folder = self._place.folder / self.name
            folder.mkdir(exist_ok=True)
            kubeconfig = self.proxy.kubeconfig(folder)
            self._process = OperatorProcess(kubeconfig, self._place.store_url, folder, **self._settings)
        return self._process

    def start(self) -> None:
        """Start it, unless it runs."""
        self.is_leaving = False
        if self.process.process is None:
            self.process.start()

    def leave(self) -> None:
        """SIGTERM; where it is killed while it leaves, it does not come back."""
        self.is_leaving = True
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL; `revive` has it back."""
        self.kills += 1
        self.process.kill()

    def revive(self) -> None:
        """Start it again where it was killed."""
        if not self.is_leaving:
            self.start()

    def wait_until_it_leads(self) -> None:
        """Wait until it holds the Lease, by its own word."""

        def leads() -> bool:
            try:
                return self.process.process is not None and self.process.metric("batchjob_is_leader") == 1
            except OSError:
                return False  # it was killed and is on its way back

        wait_until(leads, f"{self.name} to lead", every=LOOK_SECONDS)

    def must_live(self) -> None:
        """It may be killed, but never end by itself."""
        running = self.process.process
        code = running.poll() if running else None
        assert code in (None, -signal.SIGKILL) or self.is_leaving, f"ended with {code}: {self.process.log_file}"


class Step(NamedTuple):
    """A step of a scenario as it went when nothing was spoilt: what was written (labels), and what was there then."""

    name: str
    writes: tuple[str, ...]
    state: State


class World:
    """A namespace of its own, with operators that serve it, pods, and the BatchJobs `run` and `parent`."""

    def __init__(
        self, place: Place, actors: Sequence[Actor], jobs: Jobs, folder: Path, clean: Sequence[Step] | None
    ) -> None:
        """`clean`: how the scenario goes; None: find out."""
        self.actors = list(actors)
        self.jobs = jobs
        self.schedules = Schedules(jobs.kubectl)
        self.steps: list[Step] = []
        self.at = "begin"
        self.in_between: Callable[[], None] = lambda: None  # what happens while a killed operator is down
        self.all_back: Callable[[], None] = lambda: None  # waits for whoever was killed in the step
        self._clean = clean
        self._system = place.admin.within(SYSTEM)
        self._hurry = folder / "hurry"
        self._uids: dict[str, str] = {}
        self._api = CustomObjectsApi(api_client(place.admin.kubeconfig))
        self._batch_jobs = (*BATCH_JOBS, jobs.kubectl.namespace, "batchjobs")
        self.queue = jobs.kubectl.namespace  # the name of its BatchQueue, if it has one
        self._redis = Redis.from_url(place.store_url, decode_responses=True)
        self._from = [len(actor.proxy.calls) for actor in actors]
        self.unwanted: Callable[[State], State] = lambda state: state  # leaves out what a fault explains

    @property
    def is_clean(self) -> bool:
        """Whether nothing is spoilt."""
        return self._clean is None

    # ---- what a scenario does ----

    def apply(
        self, name: str = "run", *, source: dict[str, Any] | None = None, item_seconds: float = 0.5, **spec: Any
    ) -> None:
        """A BatchJob of 400 items, each so long until `hurry`."""
        data = {"do": "sleep", "seconds": str(item_seconds), "unless": str(self._hurry)}
        items = [{"id": f"i{n}", "data": data} for n in range(400)]
        job = batch_job(name, "custom", source or {"items": items}, {"processor": "chaos"}, concurrency=1, **spec)
        self._uids[name] = name  # a write may come before the answer to ours
        made: Any = self._api.create_namespaced_custom_object(*self._batch_jobs, job)
        self._uids[name] = made["metadata"]["uid"]

    def set_queue(self, **spec: Any) -> None:
        """Make or edit the BatchQueue of this world."""
        queue = {"apiVersion": "/".join(BATCH_JOBS), "kind": "BatchQueue", "metadata": {"name": self.queue}}
        self.jobs.kubectl.apply(queue | {"spec": spec})

    def know(self, name: str) -> None:
        """A BatchJob that somebody else made belongs to it too."""
        self._uids[name] = self.jobs.uid(name)

    def failing_items(self) -> dict[str, Any]:
        """A source: an item that waits for `hurry`, and three that fail."""
        wait = {"do": "sleep", "seconds": "0.5", "unless": str(self._hurry)}
        slow = [{"id": f"i{n}", "data": wait} for n in range(400)]
        return {"items": [*slow, *({"id": f"bad{n}", "data": {"do": "fail"}} for n in range(3))]}

    def change(self, name: str = "run", **spec: Any) -> None:
        """Edit the spec."""
        self._api.patch_namespaced_custom_object(*self._batch_jobs, name, {"spec": spec}, _content_type=MERGE)

    def delete(self, name: str = "run") -> None:
        """Delete the BatchJob."""
        with suppress(NotFoundException):
            self._api.delete_namespaced_custom_object(*self._batch_jobs, name)

    def gone(self, name: str = "run") -> None:
        """Wait until the BatchJob is no longer there."""
        wait_until(lambda: name in self.names("batchjobs"), f"{name} to be gone", until=lambda there: not there)

    def hurry(self) -> None:
        """Let the items be done at once."""
        self._hurry.touch()

    def running(self, name: str = "run") -> None:
        """Wait until items are worked on."""

        def reasons() -> set[str]:
            return {condition["reason"] for condition in self.jobs.status(name).get("conditions", ())}

        wait_until(reasons, f"{name} to run", until={"Running"}.__eq__, every=LOOK_SECONDS)

    def dismissed(self, count: int = 0) -> None:
        """Wait until the Secrets of runs that have ended are gone."""
        wait_until(lambda: self.names("secrets"), "the Secrets to go", until=lambda found: len(found) == count)

    def names(self, kind: str) -> list[str]:
        """Names of the batchjobs, jobs or secrets that there are."""
        path = f"{PATHS[kind]}/namespaces/{self.jobs.kubectl.namespace}/{kind}"
        return [item["metadata"]["name"] for item in read(self.jobs.kubectl, path)]

    def forget_leader(self) -> None:
        """Delete the Lease."""
        self._system("delete", "lease", LEASE, "--ignore-not-found")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step: do something and wait until it shows; then wait until all is as it was in the clean run."""
        self.at = name
        seen = [len(actor.proxy.calls) for actor in self.actors]
        yield
        if self._clean is None:
            state = self._settle()
            self.steps.append(Step(name, self.writes(seen), state))
        else:
            wanted = self._clean[len(self.steps)]
            assert wanted.name == name
            self._reach(wanted.state)
            self.all_back()
            self._reach(wanted.state)  # whoever came back may not change it
            self.steps.append(wanted)
            if len(self.steps) == len(self._clean):
                self._reach(wanted.state, stable_seconds=STABLE_SECONDS)

    # ---- what trials look at ----

    def writes(self, since: Sequence[int] | None = None) -> tuple[str, ...]:
        """Labels of the writes for this world, each once, in order."""
        since = since or self._from
        calls = sorted(
            (call for actor, first in zip(self.actors, since, strict=False) for call in actor.proxy.calls[first:]),
            key=lambda call: call.at,
        )
        return tuple(dict.fromkeys(label for call in calls if (label := self.label(call))))

    def label(self, call: Call) -> str:
        """What a write is, in words that are the same in each run; empty for a call that is none, or not of here."""
        if not call.is_write:
            return ""
        if "/leases" in call.path:
            return label_lease(call)
        if f"/namespaces/{self.jobs.kubectl.namespace}/" not in call.path:
            return ""
        return label_write(call, self._uids)

    def state(self) -> State:
        """What there is now."""
        return take(self.jobs.kubectl, self._redis, self._uids.values())

    def close(self) -> None:
        """Nothing of it is asked again."""
        with suppress(NotFoundException):
            self._api.delete_cluster_custom_object(*BATCH_JOBS, "batchqueues", self.queue)
        self._redis.close()

    def _settle(self) -> State:
        """Wait until nothing moves."""
        looks = max(2, round(SETTLED_SECONDS / LOOK_SECONDS / 2))
        seen: list[tuple[State, int]] = []

        def look() -> bool:
            seen.append((self.state(), len(self.writes())))
            return len(seen) >= looks and all(one == seen[-1] for one in seen[-looks:])

        wait_until(look, f"{self.at} to settle", every=2 * LOOK_SECONDS)
        return seen[-1][0]

    def _reach(self, wanted: State, stable_seconds: float = 0.0) -> None:
        """Wait until the state is the wanted one; from then on it must be for so long."""
        last: list[State] = []
        since: list[float] = []  # when it was first seen

        def look() -> bool:
            for actor in self.actors:
                actor.must_live()
            last[:] = [self.unwanted(self.state())]
            if last[0] == wanted:
                since.append(time.monotonic())
            elif since:
                raise TimeoutError
            return bool(since) and time.monotonic() - since[0] >= stable_seconds

        try:
            wait_until(
                look, f"the state after {self.at} to be the clean run's", every=2 * LOOK_SECONDS, timeout=REACH_SECONDS
            )
        except TimeoutError:
            raise AssertionError("\n".join([f"after {self.at}", *difference(last[0], wanted)])) from None


@contextmanager
def a_world(place: Place, actors: Sequence[Actor], clean: Sequence[Step] | None = None) -> Iterator[World]:
    """A namespace with pods for one run of a scenario."""
    with ExitStack() as stack:
        jobs = stack.enter_context(own_namespace(place.admin))
        folder = place.folder / jobs.kubectl.namespace
        folder.mkdir()
        stack.enter_context(PodRunner(place.admin.kubeconfig, jobs.kubectl.namespace, folder / "pods"))
        world = World(place, actors, jobs, folder, clean)
        stack.callback(world.close)
        yield world


def label_lease(call: Call) -> str:
    """Renewals are no event: they come as time goes by."""
    spec = json.loads(call.body)["spec"] if call.body else {}
    if "holderIdentity" not in spec:
        return ""
    return f"{call.method} leases {spec['holderIdentity'] or 'nobody'}"


def label_write(call: Call, uids: dict[str, str]) -> str:
    """Verb and kind, and for a change what it says."""
    body = json.loads(call.body) if call.body else {}
    parts = call.path.partition("/namespaces/")[2].split("/")
    kind, name = parts[1], parts[2] if len(parts) > 2 else ""
    name = name or body.get("metadata", {}).get("name", "")
    if kind == "events":
        name = name.rpartition(".")[0]  # what follows is a hash of the object as it was
    whose = next((own for own in uids if name.startswith(own)), name)
    words = [call.method, kind, whose]
    if kind == "batchjobs":
        status = body.get("status", {})
        true = [c["type"] for c in status.get("conditions", ()) if c["status"] == "True"]
        reasons = {c["reason"] for c in status.get("conditions", ())}
        words += [status.get("phase", ""), *sorted(reasons), *true]
    elif kind == "batchschedules":
        words += [
            f"{body['status']['activeRuns']} active",
            *sorted({c["reason"] for c in body["status"]["conditions"]}),
        ]
    elif kind == "events":
        words.append(body.get("reason", ""))
    elif call.method == "PATCH":
        said = [c["type"] for c in body.get("status", {}).get("conditions") or () if c["status"] == "True"]
        words.append(" ".join([json.dumps(body.get("spec", {}), sort_keys=True), *said]))
    return " ".join(word for word in words if word)
