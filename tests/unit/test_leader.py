"""The Lease: who holds it, and that it is given back whatever was under way."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from batchjob.controller import leader as module
from batchjob.controller.leader import Leader, LeaseSettings, boot_seconds
from batchjob.controller.settings import Settings
from batchjob.errors import AlreadyExists, ConfigurationError, Conflict, NotFound


class Leases:
    """An API server of one Lease; the answer to a renewal can be made to never come, though it was done."""

    def __init__(self) -> None:
        self.spec: dict[str, Any] | None = None
        self.version = 0
        self.mute = False
        self.slow_seconds = 0.0
        self.waiting = asyncio.Event()
        self.answered = asyncio.Event()

    async def get(self, *_: object) -> dict[str, Any]:
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        if self.spec is None:
            raise NotFound("no Lease")
        spec = {"spec": self.spec} if self.spec else {}
        return {"metadata": {"resourceVersion": str(self.version)}, **spec}

    async def create(self, _: object, __: str, lease: Mapping[str, Any]) -> dict[str, Any]:
        if self.spec is not None:
            raise AlreadyExists("there is a Lease")
        return await self._written(lease["spec"])

    async def patch(self, *where: object, resource_version: str) -> dict[str, Any]:
        change = cast("dict[str, Any]", where[-1])["spec"]
        if resource_version != str(self.version):
            raise Conflict("the Lease has changed")
        lease = await self._written({**(self.spec or {}), **change})
        if self.mute and "holderIdentity" not in change:
            self.waiting.set()
            await asyncio.Event().wait()
        self.answered.set()
        return lease

    async def _written(self, spec: dict[str, Any]) -> dict[str, Any]:
        self.spec = spec
        self.version += 1
        return await self.get()


@pytest.fixture
def leases() -> Leases:
    return Leases()


def candidate(
    leases: Leases, identity: str, clock: Callable[[], float] = time.monotonic, renew_seconds: float = 40
) -> Leader:
    settings = LeaseSettings("system", "operator", identity, 60, renew_seconds, retry_seconds=0.02)
    return Leader(cast("Any", leases), settings, clock)


async def lead(leader: Leader) -> asyncio.Task[None]:
    """A leader that leads by now."""
    leading = asyncio.Event()

    async def work() -> None:
        leading.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(leader.run(work))
    await asyncio.wait_for(leading.wait(), 5)
    return task


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_leader_that_is_ended_gives_the_lease_back_and_the_next_one_leads(leases: Leases) -> None:
    await end(await lead(candidate(leases, "first")))
    assert leases.spec
    assert leases.spec["holderIdentity"] == ""
    second = await lead(candidate(leases, "second"))
    assert leases.spec["holderIdentity"] == "second"
    assert leases.spec["leaseTransitions"] == 1
    await end(second)


async def test_the_lease_is_given_back_even_when_a_renewal_was_under_way(leases: Leases) -> None:
    first = await lead(candidate(leases, "first"))
    leases.mute = True
    await asyncio.wait_for(leases.waiting.wait(), 5)
    await end(first)
    assert leases.spec
    assert leases.spec["holderIdentity"] == ""


async def test_the_lease_is_given_back_though_the_api_server_is_slow(leases: Leases) -> None:
    first = await lead(candidate(leases, "first"))
    leases.slow_seconds = 0.2  # ten times as long as a retry waits
    await end(first)
    assert leases.spec
    assert leases.spec["holderIdentity"] == ""


async def test_a_lease_that_somebody_else_took_is_left_to_them(leases: Leases) -> None:
    first = await lead(candidate(leases, "first"))
    assert leases.spec
    leases.mute = True
    await asyncio.wait_for(leases.waiting.wait(), 5)
    leases.spec = {**leases.spec, "holderIdentity": "second"}
    leases.version += 1
    await end(first)
    assert leases.spec["holderIdentity"] == "second"


async def test_the_lease_is_given_back_though_something_that_we_did_as_the_leader_does_not_end(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.05)
    first, leading, ends = candidate(leases, "first"), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        leading.set()
        try:
            await asyncio.Event().wait()
        finally:
            await ends.wait()

    task = asyncio.ensure_future(first.run(work))
    await asyncio.wait_for(leading.wait(), 5)
    task.cancel()
    second = await lead(candidate(leases, "second"))
    assert not first.may_write()
    assert not task.done(), "to lead beside what is left would be two of us"
    ends.set()
    await asyncio.wait((task,), timeout=5)
    assert task.done()
    await end(second)


async def test_a_leader_that_stood_still_for_too_long_may_not_write_when_it_goes_on(leases: Leases) -> None:
    now = [0]
    leader = candidate(leases, "first", lambda: now[0])
    assert not leader.may_write(), "it stands by"
    task = await lead(leader)
    now[0] = 39
    assert leader.may_write()
    leases.answered.clear()
    await asyncio.wait_for(leases.answered.wait(), 5)  # renewed
    now[0] += 39
    assert leader.may_write()
    now[0] += 1
    assert not leader.may_write(), "before anything else had its turn"
    await end(task)


async def test_who_gives_the_lease_back_may_not_write(leases: Leases) -> None:
    leader = candidate(leases, "first")
    task = await lead(leader)
    assert leader.may_write()
    await end(task)
    assert not leader.may_write()


def test_the_clock_goes_on_while_a_machine_is_suspended_where_the_system_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda clock: {77: 7.0, time.CLOCK_MONOTONIC: 3.0}[clock])
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 77, raising=False)
    assert boot_seconds() == 7.0
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert boot_seconds() == 3.0


class Clock:
    """Seconds; the answer to the Lease's making comes so late."""

    def __init__(self, leases: Leases, late: float) -> None:
        self.late = 0.0
        made = leases.create

        async def create(*what: Any) -> dict[str, Any]:
            self.late += late
            return await made(*what)

        leases.create = create  # type: ignore[method-assign,assignment]

    def __call__(self) -> float:
        return time.monotonic() + self.late


async def test_a_renewal_that_hangs_leaves_time_for_another(leases: Leases) -> None:
    task = await lead(candidate(leases, "first", renew_seconds=2))
    leases.mute = True
    await asyncio.wait_for(leases.waiting.wait(), 5)
    leases.mute = False
    assert leases.spec
    acquired = leases.spec["acquireTime"]
    leases.answered.clear()
    await asyncio.wait_for(leases.answered.wait(), 10)
    assert leases.spec["acquireTime"] == acquired, "it gave up leading, and began anew"
    await end(task)


async def test_the_time_to_renew_counts_from_when_the_lease_was_asked_for(leases: Leases) -> None:
    leader = candidate(leases, "first", Clock(leases, late=39.9))
    leases.mute = True
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(leader.run(work))
    await asyncio.wait_for(ended.wait(), 5)
    await end(task)


async def test_who_hears_too_late_that_the_lease_is_theirs_does_not_lead_before_it_asked_again(leases: Leases) -> None:
    task = await lead(candidate(leases, "first", Clock(leases, late=40)))
    assert leases.version == 2, "the Lease was written anew"
    await end(task)


async def test_a_lease_that_says_nothing_is_nobodys(leases: Leases) -> None:
    leases.spec = {}
    await end(await lead(candidate(leases, "first")))


async def test_who_stands_by_looks_twice_in_the_time_of_a_renewal(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So one that leaves is followed within two seconds, with the usual settings."""
    leases.spec = {"holderIdentity": "first", "leaseDurationSeconds": 60}
    pauses: list[float] = []
    slept = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        slept.set()
        await asyncio.Event().wait()

    async def work() -> None:
        raise AssertionError("somebody else leads")

    monkeypatch.setattr("asyncio.sleep", pause)
    second = asyncio.ensure_future(candidate(leases, "second").run(work))
    await asyncio.wait_for(slept.wait(), 5)
    await end(second)
    assert pauses == [0.01]


@pytest.mark.parametrize(
    ("times", "wrong"),
    [
        ({"lease_seconds": "10"}, r"LEASE_RENEW_SECONDS \(10\), and that less than BATCHJOB_LEASE_SECONDS \(10,"),
        ({"lease_seconds": "2.4", "lease_renew_seconds": "2.2"}, r"BATCHJOB_LEASE_SECONDS \(2, in whole seconds\)"),
        ({"lease_retry_seconds": "10"}, r"BATCHJOB_LEASE_RETRY_SECONDS \(10\) must be less than"),
    ],
)
def test_times_by_which_two_could_lead_are_refused(
    monkeypatch: pytest.MonkeyPatch, times: dict[str, str], wrong: str
) -> None:
    for name, value in {"store_url": "redis://x", "worker_image": "w", **times}.items():
        monkeypatch.setenv(f"BATCHJOB_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=wrong):
        Settings.read()
