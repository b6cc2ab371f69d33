"""The operator's rights are those that it uses: what the chart grants, held against what a proxy saw it ask for.

One life after the other that needs what others do not, with the faults that make it read again what it has written.
That none is missing, every test of this folder shows: the operator runs with the chart's rights in all of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from tests.chart.rendering import objects
from tests.cluster.conftest import SYSTEM
from tests.prove.control import scenarios
from tests.prove.control.stage import LEASE, Actor, Place, World, a_world
from tests.support.cluster_jobs import Jobs, own_namespace
from tests.support.cluster_schedules import batch_schedule
from tests.support.fault_proxy import status
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import API_VERSION, inline, noop
from tests.support.redis_server import RedisServer
from tests.support.rights import Right, granted, refused, used

pytestmark = pytest.mark.usefixtures("free_lease")

# What the chart grants and no call of the operator's needs.
REASONS: Final = {
    Right("batchjob.dev", "batchjobs/finalizers", "update"): "the admission plug-in for owner references asks for it",
}
QUEUE: Final = "rights"


@pytest.fixture
def place(admin: Kubectl, operator_account: Path, redis_server: RedisServer, tmp_path: Path) -> Place:
    """The control plane and the store of all tests here."""
    return Place(admin, operator_account, redis_server.url, tmp_path)


@pytest.fixture
def actor(place: Place, admin: Kubectl) -> Iterator[Actor]:
    admin.within(SYSTEM)("delete", "lease", LEASE, "--ignore-not-found")  # what an earlier test left: it makes its own
    with Actor(place, "operator") as found:
        found.start()
        yield found


@pytest.fixture
def queue(admin: Kubectl) -> Iterator[str]:
    """A BatchQueue: it is the cluster's, so it goes with the test."""
    admin.apply({"apiVersion": API_VERSION, "kind": "BatchQueue", "metadata": {"name": QUEUE}, "spec": {}})
    yield QUEUE
    admin("delete", "batchqueue", QUEUE)


def test_the_operator_has_the_rights_that_it_uses_and_no_others(
    place: Place, actor: Actor, admin: Kubectl, queue: str
) -> None:
    with own_namespace(admin) as troubled, own_namespace(admin) as leaving, a_world(place, [actor]) as world:
        leave(leaving, admin)
        come_to_nothing(troubled, queue)
        break_secret(troubled, place)
        spoil(actor, world)
        scenarios.retention(world)
        change_schedules(world)
        chart, calls = granted(objects()), actor.proxy.calls
        wait_until(lambda: chart - used(calls) - REASONS.keys(), "rights to be used", until=lambda idle: not idle)
        assert sorted(used(calls) - chart) == [], "used, and not granted"
        assert refused(calls) == []
    assert REASONS.keys() <= chart - used(calls), "a reason for what needs none"


def leave(jobs: Jobs, admin: Kubectl) -> None:
    """Where pods stay that were deleted, the namespace may be the reason."""
    jobs.apply(noop("leaving", inline(1)))
    wait_until(lambda: jobs.pods("leaving"), "its pod")
    admin("delete", "namespace", jobs.kubectl.namespace, "--wait=false")


def come_to_nothing(jobs: Jobs, queue: str) -> None:
    """What mounts things is looked up, and so is why pods do not start: nothing runs them here."""
    jobs.kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}})
    worker = {"envFrom": [{"configMapRef": {"name": "there"}}], "volumes": [{"claimName": "none", "mountPath": "/x"}]}
    jobs.apply(
        noop("needy", inline(1), worker=worker, queueName=queue),
        *(noop(name, inline(1)) for name in ("pending", "paused")),
    )
    jobs.wait_condition("needy", "Stalled", "ClaimNotFound")
    wait_until(lambda: jobs.pods("pending"), "its pod")
    jobs.wait_phase("paused", "Running")
    jobs.kubectl("patch", "batchjob", "paused", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    jobs.kubectl.apply(quota)
    jobs.apply(noop("refused", inline(1)))


def spoil(actor: Actor, world: World) -> None:
    """Who is told that a name is taken reads what there is; whose status has changed meanwhile reads the object."""
    taken = status(409, "AlreadyExists")
    there = f"/namespaces/{world.jobs.kubectl.namespace}/"
    actor.proxy.inject(f"^POST .*{there}jobs$", answer=taken)
    actor.proxy.inject(f"^POST .*{there}cronjobs$", answer=taken)
    actor.proxy.inject(f"^PATCH .*{there}batchjobs/.*/status$", answer=status(409, "Conflict"))


def change_schedules(world: World) -> None:
    """A CronJob is made, changed and removed; the Job of one has its BatchJob and is told of its end."""
    scenarios.schedule(world)
    world.jobs.kubectl.apply(batch_schedule("run", suspend=True))
    world.schedules.wait_seen("run")
    world.jobs.kubectl.apply(batch_schedule("run", "0 1 29 2 *", suspend=True))
    world.schedules.wait_seen("run")


def break_secret(jobs: Jobs, place: Place) -> None:
    """A run whose Secret was emptied gets it back, once its user in the store is gone too."""
    jobs.wait_phase("pending", "Running")
    [secret] = jobs.kubectl.items("secrets", "-l", f"batchjob.dev/uid={jobs.uid('pending')}")
    jobs.kubectl("patch", "secret", secret["metadata"]["name"], "--type=merge", "-p", '{"data": {"run.json": ""}}')
    with Redis.from_url(place.store_url, decode_responses=True) as store:
        [user] = [name for name in store.acl_users() if jobs.uid("pending") in name]
        store.acl_deluser(user)
