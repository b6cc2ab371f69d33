"""What is removed when, and that ten thousand BatchJobs that have ended cost next to nothing."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.controller.known import KnownBatchJobs, build_entry
from batchjob.controller.retention import AT_ONCE, REFUSED_SWEEPS, Keeping
from batchjob.core.retention import Kept, surplus
from batchjob.errors import Forbidden
from batchjob.kube import BATCH_JOBS, JOBS, Resource
from batchjob.metrics import REGISTRIES, Process

NOW = datetime.now(UTC)


def at(seconds: float) -> str:
    """So many seconds from now."""
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def ended(name: str, *, expires: float = 3600, end: float = -100, ok: bool = True, **spec: Any) -> dict[str, Any]:
    """A BatchJob that has ended and keeps what it left until then."""
    condition = {"type": "Complete" if ok else "Failed", "status": "True"}
    return {
        "metadata": {
            "namespace": "team", "name": name, "uid": f"u-{name}", "resourceVersion": "5", "generation": 1,
        },
        "spec": {"type": "custom", **spec},
        "status": {
            "phase": "Succeeded" if ok else "Failed", "observedGeneration": 1, "conditions": [condition],
            "completionTime": at(end), "results": {"expiresAt": at(expires)},
        },
    }  # fmt: skip


@dataclass
class World:
    """Kubernetes, the store, its users and the Jobs, as far as retention sees them."""

    known: KnownBatchJobs = field(default_factory=KnownBatchJobs)
    keys: dict[str, set[bytes]] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    jobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    patched: list[str] = field(default_factory=list)
    only: list[dict[str, str]] = field(default_factory=list)
    walks: int = 0  # through the store's keys
    forbidden: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)  # since we saw them
    refusals: int = 0
    ahead: float = 0  # seconds of our clock, of the store's

    async def now(self) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=self.ahead)

    def has(self, *bodies: dict[str, Any]) -> None:
        for body in bodies:
            self.known.seen(body)
            self.keys[body["metadata"]["uid"]] = {b"key"}

    async def runs(self) -> dict[str, set[bytes]]:
        self.walks += 1
        return dict(self.keys)

    async def delete_run(self, uid: str, _: set[bytes]) -> None:
        del self.keys[uid]

    def owned_by(self, _: str, uid: str) -> list[dict[str, Any]]:
        return self.jobs.get(uid, [])

    async def delete(self, resource: Resource, _: str, name: str, **only: str) -> bool:
        self._must_be_allowed(name)
        if name in self.changed:
            return False
        self.deleted.append((resource.kind, name))
        self.only.append(only)
        return True

    async def patch(self, resource: Resource, _: str, name: str, change: Any, **given: Any) -> dict[str, Any]:
        assert (resource, given) == (BATCH_JOBS, {"subresource": "status", "resource_version": "5"})
        self._must_be_allowed(name)
        self.patched.append(name)
        body = ended(name, expires=0)
        body["metadata"]["resourceVersion"] = "6"
        body["status"]["results"] = change["status"]["results"]
        return body

    def _must_be_allowed(self, name: str) -> None:
        if name in self.forbidden:
            self.refusals += 1
            raise Forbidden("no", status=403, reason="Forbidden")

    def keeping(self, keep: int = 1000) -> Keeping:
        one = cast("Any", self)
        return Keeping(one, one, one, one, self.known, lambda _: keep)


async def test_what_has_expired_goes_and_nothing_else() -> None:
    world = World()
    world.has(ended("old", expires=-1), ended("young"), ended("failed", ok=False, expires=-1))
    world.has({"metadata": ended("works")["metadata"], "spec": {}, "status": {"phase": "Running"}})
    world.jobs["u-old"] = [{"metadata": {"name": "old-abcde", "uid": "j"}}]
    await world.keeping().sweep()
    assert world.keys.keys() == {"u-young", "u-works"}
    assert world.deleted == [(JOBS.kind, "old-abcde")], "neither the object nor a Job of another"
    assert world.patched == []


async def test_what_is_gone_costs_neither_a_write_nor_another_walk_through_the_store() -> None:
    world = World()
    world.has(*(ended(f"n{number}", expires=-1) for number in range(300)))
    keeping = world.keeping()
    for _ in range(3):
        await keeping.sweep()
    assert (world.keys, world.walks) == ({}, 1)
    await world.keeping().sweep()  # another operator
    assert (world.walks, world.deleted, world.patched) == (2, [], [])


async def test_a_clock_that_is_far_ahead_of_the_stores_deletes_nothing() -> None:
    world = World(ahead=86_400)
    world.has(ended("old", expires=-1), ended("due", ttlSecondsAfterFinished=0), ended("extra"))
    keeping = world.keeping(keep=0)
    await keeping.sweep()
    assert (len(world.keys), world.deleted, world.patched) == (3, [], [])
    assert REGISTRIES[Process.OPERATOR].get_sample_value("batchjob_clock_ahead_seconds") == pytest.approx(86_400, abs=5)
    world.ahead = -86_400  # then nothing of ours is too early
    await keeping.sweep()
    assert world.deleted == [(BATCH_JOBS.kind, "due")]


async def test_workers_that_have_not_heard_of_the_end_keep_their_run() -> None:
    world = World(present={"u-a"})
    world.has(ended("a", expires=-1))
    keeping = world.keeping()
    await keeping.sweep()
    assert (list(world.keys), world.walks) == (["u-a"], 0)
    world.present.clear()
    await keeping.sweep()
    assert world.keys == {}


async def test_of_a_queue_the_last_complete_ones_are_kept() -> None:
    world = World()
    world.has(*(ended(f"n{number}", end=-number) for number in range(1, 6)))
    world.has(ended("failed", ok=False, end=-50), ended("other", end=-60, queueName="q"), ended("gone", expires=-1))
    keeping = world.keeping(keep=3)
    for _ in range(2):
        await keeping.sweep()
    assert world.patched == ["n5", "n4"], "the oldest first, each once"
    assert world.keys.keys() == {"u-n1", "u-n2", "u-n3", "u-failed", "u-other"}


async def test_what_is_being_read_waits_until_it_has_been_read() -> None:
    world = World()
    world.has(ended("a", expires=-1), ended("b"), ended("c", end=-50))
    for name, read, started in (("reads", "a", True), ("waits", "b", False)):
        body = ended(name)
        body["spec"]["source"] = {"resultsOf": {"batchJobName": read}}
        body["status"] = {"phase": "Running", "storeEpoch": "e"} if started else {}
        world.has(body)
    keeping = world.keeping(keep=0)
    await keeping.sweep()
    assert ("u-a" in world.keys, world.patched) == (True, ["c"])
    for name in ("reads", "waits"):
        world.known.deleted("team", name, f"u-{name}")
    await keeping.sweep()
    assert ("u-a" in world.keys, world.patched) == (False, ["c", "b"])


async def test_a_flood_is_worked_off_in_steps() -> None:
    world = World()
    world.has(*(ended(f"n{number}", end=-number) for number in range(1, 2 * AT_ONCE)))
    keeping = world.keeping(keep=0)
    await keeping.sweep()
    assert len(world.patched) == AT_ONCE
    for _ in range(2):
        await keeping.sweep()
    assert (len(world.patched), world.keys) == (2 * AT_ONCE - 1, {})


async def test_an_object_goes_when_its_time_is_over_and_only_as_it_was_seen() -> None:
    world = World()
    world.has(
        ended("due", end=-100, ttlSecondsAfterFinished=100),
        ended("later", end=-100, ttlSecondsAfterFinished=86_400),
        ended("never"),
    )
    await world.keeping().sweep()
    assert world.deleted == [(BATCH_JOBS.kind, "due")]
    assert world.only == [{"uid": "u-due", "resourceVersion": "5"}]


async def test_what_somebodys_finalizer_keeps_is_deleted_once_and_keeps_no_other_from_its_end() -> None:
    world = World()
    world.has(*(ended(f"n{number}", ttlSecondsAfterFinished=0) for number in range(AT_ONCE + 1)))
    keeping = world.keeping()
    for _ in range(3):
        await keeping.sweep()
    assert len(world.deleted) == len(set(world.deleted)) == AT_ONCE + 1


async def test_an_object_that_is_being_read_stays_until_it_has_been_read() -> None:
    world = World()
    reader = ended("reads")
    reader["spec"]["source"] = {"resultsOf": {"batchJobName": "a"}}
    reader["status"] = {"phase": "Running", "storeEpoch": "e"}
    world.has(ended("a", ttlSecondsAfterFinished=0), reader)
    keeping = world.keeping()
    await keeping.sweep()
    assert world.deleted == []
    world.known.deleted("team", "reads", "u-reads")
    await keeping.sweep()
    assert world.deleted == [(BATCH_JOBS.kind, "a")]


async def test_what_is_refused_for_one_does_not_keep_the_others_from_it() -> None:
    world = World(forbidden={"a"})
    world.has(ended("a", ttlSecondsAfterFinished=0), ended("b", ttlSecondsAfterFinished=0))
    await world.keeping().sweep()
    assert world.deleted == [(BATCH_JOBS.kind, "b")]


async def test_an_object_that_changed_since_it_was_seen_is_deleted_with_a_later_sweep() -> None:
    world = World(changed={"a"})
    world.has(ended("a", ttlSecondsAfterFinished=0))
    keeping = world.keeping()
    await keeping.sweep()
    assert world.deleted == []
    world.changed.clear()
    await keeping.sweep()
    assert world.deleted == [(BATCH_JOBS.kind, "a")]


@pytest.mark.parametrize("spec", [{"ttlSecondsAfterFinished": 0}, {}], ids=["objects", "what they left"])
async def test_what_is_refused_for_many_keeps_no_other_from_its_end_and_is_tried_again(spec: dict[str, Any]) -> None:
    names = [f"n{number}" for number in range(AT_ONCE + 1)]
    world = World(forbidden=set(names))
    world.has(*(ended(name, end=-1000, **spec) for name in names), ended("last", **spec))
    keeping = world.keeping(keep=1000 if spec else 0)
    for _ in range(2):
        await keeping.sweep()
    assert [*world.deleted, *world.patched] == [(BATCH_JOBS.kind, "last") if spec else "last"]
    assert world.refusals == AT_ONCE + 1
    world.forbidden.clear()
    for _ in range(REFUSED_SWEEPS):
        await keeping.sweep()
    assert len(world.deleted) + len(world.patched) == AT_ONCE + 2


async def test_what_cannot_be_removed_costs_no_walk_through_the_store_each_time() -> None:
    world = World(forbidden={"old-abcde"})
    world.has(ended("old", expires=-1))
    world.jobs["u-old"] = [{"metadata": {"name": "old-abcde", "uid": "j"}}]
    keeping = world.keeping()
    for _ in range(REFUSED_SWEEPS):
        await keeping.sweep()
    assert (world.walks, world.refusals) == (1, 1)
    await keeping.sweep()
    assert (world.walks, world.refusals) == (2, 2)


@pytest.mark.parametrize("text", [None, 7, "yesterday", "2026-01-01T00:00:00"])
def test_a_time_that_is_none_is_never_over(text: object) -> None:
    body = ended("a", ttlSecondsAfterFinished=0)
    body["status"] |= {"completionTime": text, "results": {"expiresAt": text}}
    entry = build_entry(body)
    assert not entry.has_expired(NOW + timedelta(days=9999))
    assert not entry.is_to_go(NOW + timedelta(days=9999))


def kept(name: str, end: float, *, queue: str = "q", namespace: str = "team", owner: str | None = None) -> Kept[str]:
    return Kept(queue, namespace, owner, end, name)


def test_who_completes_much_takes_nobodys_results() -> None:
    bobs = [kept(f"b{number}", number, namespace="team-b") for number in range(5)]
    alices = [kept(f"a{number}", 1000 + number, namespace="team-a") for number in range(1000)]
    assert surplus([*bobs, *alices], lambda _: 1000) == [f"a{number}" for number in range(5)]
    crowd = [kept(f"a{n}", 1000 + n, namespace="team-a", owner=f"account-{n}") for n in range(1000)]
    assert surplus([*bobs, *crowd], lambda _: 1000) == [f"a{n}" for n in range(5)], "more names, no more share"


def test_in_a_namespace_who_has_most_loses_first() -> None:
    runs = [kept(f"a{n}", 100 + n, owner="alice") for n in range(4)] + [kept(f"b{n}", n, owner="bob") for n in range(2)]
    assert surplus(runs, lambda _: 4) == ["a0", "a1"]
    assert surplus(runs, lambda _: 3) == ["b0", "a0", "a1"]
    assert surplus(runs, lambda _: 0) == ["b0", "b1", "a0", "a1", "a2", "a3"]


@given(
    runs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 99)), max_size=40),
    keep=st.integers(0, 40),
)
def test_no_more_goes_than_is_too_much_and_only_of_who_has_most(runs: list[tuple[str, str, int]], keep: int) -> None:
    found = [
        kept(str(number), end, namespace=namespace, owner=owner) for number, (namespace, owner, end) in enumerate(runs)
    ]
    gone = {int(name) for name in surplus(found, lambda _: keep)}
    assert len(gone) == max(0, len(runs) - keep)
    for size in (1, 2):  # the namespace, and the owner in it
        whose = ["".join(run[:2])[:size] for run in runs]
        left = Counter(who for number, who in enumerate(whose) if number not in gone)
        for number in gone:
            rivals = [left[other] for other in left if other[:-1] == whose[number][:-1]]
            assert left[whose[number]] >= max(rivals, default=0) - 1


def test_each_queue_keeps_its_own() -> None:
    ends = [("a", 1.0, "a1"), ("b", 2.0, "b2"), ("a", 3.0, "a3"), ("a", 2.0, "a2"), ("b", 1.0, "b1")]
    runs = [kept(name, end, queue=queue) for queue, end, name in ends]
    assert surplus(runs, lambda _: 1) == ["a1", "b1", "a2"]
    assert surplus(runs, lambda _: 3) == []
    assert surplus(runs, {"a": 1, "b": 3}.__getitem__) == ["a1", "a2"]
