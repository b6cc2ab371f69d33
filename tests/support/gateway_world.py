"""An installation of the gateway on a real API server and a real store, and people with rights in one namespace."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import yaml
from fastapi import FastAPI

from batchjob.api.run import StoreAccess
from batchjob.core.items import Failed, Item, Outcome, Succeeded
from batchjob.core.rows import JobRow
from batchjob.gateway.app import build_app
from batchjob.kube import Access
from batchjob.store import Commit, Store
from tests.support.accounts import SYSTEM
from tests.support.gateway import asking, gateway_settings
from tests.support.kubectl import Kubectl

TEAM: Final = "gateway-team"
KEYS: Final = "gateway-keys"
LIMITS: Final = ("reads", "submits", "ai_submits", "changes", "failed_sign_ins")
RBAC: Final = "rbac.authorization.k8s.io"
# What the gateway itself may do; docs/how-to/http-api.md lists the same.
RIGHTS: Final[Sequence[Mapping[str, Any]]] = (
    {
        "apiGroups": ["batchjob.dev"],
        "resources": ["batchjobs"],
        "verbs": ["get", "create", "patch", "impersonate-owner"],
    },
    {"apiGroups": ["batchjob.dev"], "resources": ["batchschedules"], "verbs": ["list", "create", "patch"]},
    {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["list"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": ["batchjob.dev"], "resources": ["batchqueues"], "verbs": ["get", "list", "create", "patch"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [KEYS], "verbs": ["get"]},
)
JOBS_RIGHTS: Final = {"apiGroups": ["batchjob.dev"], "resources": ["batchjobs", "batchschedules"]}
QUEUES: Final = {"apiGroups": ["batchjob.dev"], "resources": ["batchqueues"]}
USER: Final = ({**JOBS_RIGHTS, "verbs": ["get", "list", "create", "patch"]}, {**QUEUES, "verbs": ["list"]})
STEWARD: Final = ({**JOBS_RIGHTS, "verbs": ["get", "list", "create", "patch"]}, {**QUEUES, "verbs": ["list", "update"]})
ADMIN: Final = (*STEWARD, {**JOBS_RIGHTS, "resources": ["batchjobs"], "verbs": ["impersonate-owner"]})
PEOPLE: Final = {
    "alice": USER,
    "bob": USER,
    "gw-admin": ADMIN,
    "gw-steward": STEWARD,
    "nobody": (),
    "eager": USER,
    "calm": USER,
}


def key_of(user: str) -> str:
    """The API key of a user here."""
    return f"bj_{user}_{hashlib.sha256(user.encode()).hexdigest()[:43]}"


def bearer(user: str) -> dict[str, str]:
    """The header that signs a user in."""
    return {"Authorization": f"Bearer {key_of(user)}"}


def bound(name: str, rules: Sequence[Mapping[str, Any]], subject: dict[str, str]) -> list[dict[str, Any]]:
    """A ClusterRole, and that somebody has it."""
    version = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": name}}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    return [
        {**version, "kind": "ClusterRole", "rules": [*rules]},
        {**version, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]},
    ]


class World:
    """Where a gateway of a test works."""

    def __init__(self, admin: Kubectl, administrators: Path, redis_url: str, folder: Path) -> None:
        self.team = admin.within(TEAM)
        self.redis_url = redis_url
        self._install(admin)
        config = yaml.safe_load(administrators.read_text())
        token = admin.within(SYSTEM)("create", "token", "batchjob-gateway", "--duration=8h").strip()
        config["users"][0]["user"] = {"token": token}
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _install(self, admin: Kubectl) -> None:
        system = admin.within(SYSTEM)
        for space in (system, self.team):
            space.ensure_namespace()
        keys = {
            user: json.dumps({"sha256": hashlib.sha256(key_of(user).encode()).hexdigest(), "user": user}).encode()
            for user in PEOPLE
        }
        account = {"kind": "ServiceAccount", "name": "batchjob-gateway", "namespace": SYSTEM}
        system.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "batchjob-gateway"}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": KEYS},
                "data": {user: base64.b64encode(entry).decode() for user, entry in keys.items()},
            },
            *bound("test-gateway", RIGHTS, account),
            *(
                document
                for user, rules in PEOPLE.items()
                for document in bound(f"test-{user}", rules, {"apiGroup": RBAC, "kind": "User", "name": user})
            ),
        )

    @asynccontextmanager
    async def gateway(self, access: Access | None = None, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
        """A client of a gateway that has started; nobody is signed in."""
        async with asking(self.app(access, **settings)) as client:
            yield client

    def app(self, access: Access | None = None, **settings: Any) -> FastAPI:
        """A gateway that has not started."""
        told = {
            "store_url": self.redis_url,
            "default_namespace": TEAM,
            "api_keys_secret": KEYS,
            "pod_namespace": SYSTEM,
            **{
                f"{kind}_per_minute": 100_000
                for kind in ("reads", "submits", "ai_submits", "changes", "failed_sign_ins")
            },
            "failed_sign_ins_in_all": 100_000,
        }
        return build_app(gateway_settings(**(told | settings)), access or Access.from_kubeconfig(self.kubeconfig))

    async def list(self, rows: Mapping[str, JobRow]) -> None:
        """Put BatchJobs into the index."""
        async with Store.connect(StoreAccess(url=self.redis_url), name="test") as store:
            await store.index.keep(rows, "test")

    async def fill(self, uid: str) -> None:
        """What a run of three items leaves in the store."""
        async with Store.connect(StoreAccess(url=self.redis_url), name="test") as store:
            await store.load_scripts()
            await fill_run(store, uid)


async def fill_run(store: Store, uid: str) -> None:
    """What a run of three items leaves in the store: two results, one dead letter."""
    await store.open_run(uid, epoch="one", created_for="team/run", max_losses=3)
    lease = await store.run(uid, "loader").claim_load()
    assert lease is not None
    await lease.put([[Item(place, f"i{place}", {"text": f"sentence {place}"}) for place in range(3)]])
    await lease.finish(3, "0" * 64, None)
    run = store.run(uid, "worker")
    [chunk] = (await run.exchange([], 10, 10)).chunks
    outcomes: list[Outcome] = [
        Succeeded(0, b'{"length": 10}'),
        Failed(1, "timeout", "it took too long"),
        Succeeded(2, b'{"length": 12}'),
    ]
    await run.exchange([Commit(chunk.id, chunk.fence, outcomes, started=0, release=False)], 0)
