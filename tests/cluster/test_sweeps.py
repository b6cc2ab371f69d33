"""Samples of the proofs of tests/prove/control: the operator killed at writes, spoilt at calls, cut from its Lease."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prove.control import absence, faults, kills, leaders, limits, scenarios
from tests.prove.control.kills import Point
from tests.prove.control.stage import Actor, Place, a_world
from tests.support.kubectl import Kubectl
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("free_lease")

QUIET_SECONDS = 5.0
AWAY_SECONDS = 5.0
SOME = limits.Sizes(fair=21, capped=16, narrow=8, shut=4)


@pytest.fixture
def place(admin: Kubectl, operator_account: Path, redis_server: RedisServer, tmp_path: Path) -> Place:
    """The control plane and the store of all tests here."""
    return Place(admin, operator_account, redis_server.url, tmp_path)


@pytest.fixture
def actors(place: Place) -> Iterator[tuple[Actor, Actor]]:
    with kills.operators(place) as found:
        yield found


def test_an_operator_killed_at_a_write_or_spoilt_at_one_comes_to_the_same_end_and_is_quiet(
    place: Place, actors: tuple[Actor, Actor]
) -> None:
    clean = kills.learn(place, actors, scenarios.create)
    found = kills.points(clean)
    made, ended = "PATCH batchjobs run Running Loading", "PATCH batchjobs run Succeeded Succeeded Complete"
    assert {Point("create", made, "before"), Point("finish", ended, "after")} <= set(found)
    kills.kill(place, actors, scenarios.create, clean, Point("create", made, "before"))
    kills.kill(place, actors, scenarios.create, clean, Point("finish", ended, "after"))
    assert actors[0].kills == 2
    faults.spoil_write(place, actors, scenarios.create, clean, ("finish", "POST events run Succeeded"), "429")
    faults.spoil_watch(place, actors, scenarios.create, clean, "/apis/batch/v1/jobs", "stale snapshot")
    faults.idle(place, actors, scenarios.create, clean, QUIET_SECONDS)


def test_an_api_server_that_is_away_is_waited_for(place: Place, actors: tuple[Actor, Actor]) -> None:
    assert absence.trial(place, actors, AWAY_SECONDS)["calls_meanwhile"] > 0


def test_a_leader_that_is_cut_off_from_its_lease_never_writes_after_the_next_one(place: Place) -> None:
    with leaders.two(place, **leaders.SHORT) as pair, a_world(place, pair) as world:
        world.apply(parallelism=1)
        world.running()
        before, after, _ = leaders.cut(world, *pair)
    assert (before >= leaders.WRITES, after >= leaders.WRITES) == (True, True)


def test_a_leader_that_stood_still_sends_no_write_when_it_goes_on_after_another_has_led(place: Place) -> None:
    with leaders.two(place, **leaders.SHORT) as pair, a_world(place, pair) as world:
        leaders.stop(world, *pair, leaders.STOPPED_AT[0], "run")


def test_no_limit_of_a_queue_is_broken_in_any_version_and_owners_take_turns(place: Place) -> None:
    facts = limits.trial(place, SOME, seed=1)
    assert facts["batchjobs"] == sum(SOME)
    most = {queue: facts[f"most_running_{queue}"] for queue in limits.QUEUES}
    assert min(most[queue] for queue in ("fair", "capped", "shut")) >= 3, "never full"  # maxActiveJobs of the smallest
    assert facts["most_workers_narrow"] == limits.QUEUES["narrow"]["maxWorkers"], "never full"  # by a few that are wide
