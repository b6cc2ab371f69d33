"""The credentials of a run: made once, and read where Kubernetes refuses to make them again."""

from typing import Any, cast

import pytest

from batchjob.api.defaults import effective
from batchjob.api.run import STORE_FILE, Run, StoreAccess
from batchjob.controller.manifests import decode
from batchjob.controller.users import Users
from batchjob.errors import AlreadyExists, Forbidden, KubernetesError, NotFound
from batchjob.kube import Resource
from batchjob.store.keys import user_name
from tests.support.plan_world import batch_job

SPEC = batch_job().spec
RUN = Run(uid="u1", namespace="team", name="run", epoch="e1", spec=SPEC, effective=effective(SPEC))


class Cluster:
    """Keeps Secrets, and refuses new ones when told to."""

    def __init__(self) -> None:
        self.refusal: KubernetesError | None = None
        self.secrets: dict[str, Any] = {}
        self.changed: list[str] = []  # the version that each change was of
        self.deleted: list[tuple[str, str]] = []  # name and uid

    async def create(self, _: Resource, _namespace: str, body: dict[str, Any]) -> None:
        if self.refusal:
            raise self.refusal
        body["metadata"] |= {"uid": f"s{len(self.secrets)}", "resourceVersion": "7"}
        self.secrets[body["metadata"]["name"]] = body

    async def patch(self, _: Resource, _namespace: str, name: str, change: Any, *, resource_version: str) -> None:
        self.changed.append(resource_version)
        self.secrets[name] |= change

    async def delete(self, _: Resource, _namespace: str, name: str, *, uid: str) -> None:
        self.deleted.append((name, uid))

    async def get(self, _: Resource, _namespace: str, name: str) -> dict[str, Any]:
        if name not in self.secrets:
            raise NotFound(name)
        found: dict[str, Any] = self.secrets[name]
        return found


class Passwords:
    """A store that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.caches: list[str] = []
        self.revoked: list[str] = []

    async def revoke(self, uid: str) -> None:
        self.revoked.append(uid)

    async def grant(self, _: str, password: str, *, cache: str, **_more: Any) -> None:
        self.told.append(password)
        self.caches.append(cache)


def users(cluster: Cluster, store: Passwords) -> Users:
    """An operator's, at its start."""
    return Users(cast("Any", cluster), cast("Any", store), StoreAccess(url="rediss://store/0", ca="PEM"))


@pytest.mark.parametrize(
    "refusal", [AlreadyExists("there"), Forbidden("exceeded quota: one Secret, and that is this one")]
)
async def test_after_a_restart_a_run_keeps_the_password_that_its_secret_has(refusal: KubernetesError) -> None:
    cluster, store = Cluster(), Passwords()
    await users(cluster, store).admit(RUN)
    cluster.refusal = refusal
    await users(cluster, store).admit(RUN)
    assert len(store.told) == 2
    assert len(set(store.told)) == 1


async def test_the_secret_has_the_way_to_the_store_and_the_login_of_the_run_alone() -> None:
    cluster, store = Cluster(), Passwords()
    await users(cluster, store).admit(RUN)
    [secret] = cluster.secrets.values()
    access = StoreAccess.model_validate_json(decode(secret, STORE_FILE))
    assert (access.url, access.ca, access.password) == ("rediss://store/0", "PEM", store.told[0])
    assert access.username == user_name("u1")


async def test_runs_share_a_cache_where_owner_and_namespace_are_the_same() -> None:
    store = Passwords()
    for namespace, owner in (("team", "alice"), ("team", "alice"), ("team", "bob"), ("other", "alice"), ("team", None)):
        spec = SPEC.model_copy(update={"owner": owner})
        run = RUN.model_copy(update={"namespace": namespace, "spec": spec, "effective": effective(spec)})
        await users(Cluster(), store).admit(run)
    assert store.caches[0] == store.caches[1]
    assert len(set(store.caches)) == 4


async def test_where_there_is_no_secret_the_refusal_is_the_answer() -> None:
    cluster = Cluster()
    cluster.refusal = Forbidden("exceeded quota")
    with pytest.raises(Forbidden, match="exceeded quota"):
        await users(cluster, Passwords()).admit(RUN)


async def test_of_another_epoch_the_secret_is_written_again_as_it_was_read() -> None:
    cluster, store = Cluster(), Passwords()
    await users(cluster, store).admit(RUN)
    cluster.refusal = AlreadyExists("there")
    await users(cluster, store).admit(RUN.model_copy(update={"epoch": "e2"}))
    assert (cluster.changed, len(set(store.told))) == (["7"], 1)


@pytest.mark.parametrize("whose", ["u1", "another"])
async def test_a_secret_goes_with_its_run_and_one_of_somebody_elses_under_its_name_stays(whose: str) -> None:
    cluster, store = Cluster(), Passwords()
    await users(cluster, store).admit(RUN)
    [name] = cluster.secrets
    cluster.secrets[name]["metadata"]["ownerReferences"][0]["uid"] = whose
    await users(cluster, store).dismiss("team", name, "u1")
    assert cluster.deleted == ([(name, "s0")] if whose == "u1" else [])
    assert store.revoked == ["u1"]
    cluster.secrets.clear()
    of_operator = users(cluster, store)
    await of_operator.dismiss("team", name, "u1")
    assert store.revoked == ["u1", "u1"], "it was gone before"
    assert of_operator.dismissed == {"u1"}, "it need not be looked for again"
    await of_operator.revoke("u1")
    assert not of_operator.dismissed, "the BatchJob was deleted"
