"""What a tenant may write in its own namespace opens no door to another's."""

import base64
import json

import pytest
from redis import Redis

from batchjob.controller.manifests import child_name
from batchjob.store import Store
from tests.cluster.conftest import AskStore
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import inline, noop
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def victim(admin: Kubectl) -> Jobs:
    """BatchJobs of somebody else."""
    there = admin.within("team-victim")
    there.ensure_namespace()
    return Jobs(there)


def test_a_secret_that_names_another_namespaces_run_does_not_let_it_be_read(
    jobs: Jobs, victim: Jobs, ask_store: AskStore, redis_server: RedisServer
) -> None:
    victim.apply(noop("victim", inline(1)))
    jobs.apply(noop("attacker", inline(1)))
    for owner, name in ((victim, "victim"), (jobs, "attacker")):
        owner.wait_phase(name, "Running")
    theirs, ours = victim.uid("victim"), jobs.uid("attacker")
    [secret] = jobs.kubectl.items("secrets", "-l", f"batchjob.dev/uid={ours}")
    run = json.loads(base64.b64decode(secret["data"]["run.json"])) | {"parentUid": theirs}
    forged = {"data": {"run.json": base64.b64encode(json.dumps(run).encode()).decode()}}
    jobs.kubectl("patch", "secret", secret["metadata"]["name"], "--type=merge", "-p", json.dumps(forged))
    ask_store(lambda store: store.revoke(ours))  # as a restart of Redis does

    async def users(store: Store) -> set[str]:
        return await store.user_names()

    wait_until(lambda: ask_store(users), "the user to be made again", until=lambda found: ours in found)
    with Redis.from_url(redis_server.url) as redis:
        selectors = str(redis.acl_getuser(f"bj-{ours}"))
    assert ours in selectors
    assert theirs not in selectors
    victim.delete("victim")


def test_a_job_that_claims_to_be_a_child_from_another_namespace_is_not_believed(jobs: Jobs, victim: Jobs) -> None:
    victim.apply(noop("waits", inline(1), suspend=True))
    victim.wait_phase("waits", "Suspended")
    uid = victim.uid("waits")
    owner = {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchJob", "name": "waits", "uid": uid, "controller": True}
    labels = {
        "app.kubernetes.io/managed-by": "batchjob-operator",
        "batchjob.dev/uid": uid,
        "batchjob.dev/name": "waits",
    }
    metadata = {
        "name": child_name("waits", uid, 0),
        "labels": labels,
        "annotations": {"batchjob.dev/epoch": "forged"},
        "ownerReferences": [owner],
    }
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}
    spec = {"suspend": True, "template": {"spec": pod}}
    for _ in range(3):  # the garbage collector takes it away, and it comes back
        jobs.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    victim.kubectl("patch", "batchjob", "waits", "--type=merge", "-p", '{"spec":{"parallelism":2}}')
    seen = wait_until(
        lambda: victim.get("waits"),
        "the operator to have looked",
        until=lambda found: found["status"]["observedGeneration"] == found["metadata"]["generation"],
    )
    assert seen["status"]["phase"] == "Suspended"
    victim.delete("waits")
