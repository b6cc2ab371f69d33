"""Who may sign in, and how: an OIDC issuer, ServiceAccounts, API keys; and what each of them becomes as an owner."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from batchjob.gateway import issuer as issuers
from tests.support.gateway_world import KEYS, TEAM, USER, World, bearer, bound
from tests.support.kubectl import Kubectl

JOBS: Final = "/api/v1/batch-jobs"
NOOP: Final[dict[str, Any]] = {
    "type": "custom",
    "custom": {"processor": "noop"},
    "items": [{"id": "1", "data": {"n": 1}}],
}


class Issuer:
    """An OIDC issuer on a port of its own."""

    def __init__(self) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": "first"})]
        self.asked: list[str] = []
        self.url = ""
        self.is_away = False

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.is_away:
            raise web.HTTPBadGateway
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})

    def token(self, user: str, key: int = 0, **changes: Any) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "batchjob", "sub": user, "exp": now + 300, "iat": now} | changes
        signed = jwt.encode({"alg": "RS256", "kid": self.keys[key].kid}, claims, self.keys[key])
        return {"Authorization": f"Bearer {signed}"}

    def settings(self) -> dict[str, Any]:
        return {"oidc_issuer": self.url, "oidc_audience": "batchjob", "oidc_username_prefix": ""}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    found = Issuer()
    app = web.Application()
    app.add_routes([web.get("/.well-known/openid-configuration", found.discovery), web.get("/keys", found.jwks)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def owner(client: httpx2.AsyncClient, headers: dict[str, str]) -> str:
    """Whose a BatchJob is that is made like this."""
    answer = await client.post(JOBS, json=NOOP, headers=headers)
    assert answer.status_code == 202, answer.text
    found = (await client.get(answer.headers["location"], headers=headers)).json()["job"]
    return str(found["owner"])


async def test_a_token_of_the_issuer_makes_its_user_the_owner(world: World, issuer: Issuer) -> None:
    async with world.gateway(**issuer.settings()) as client:
        assert await owner(client, issuer.token("alice")) == "alice"
        assert await owner(client, issuer.token("bob")) == "bob"
        assert (await client.post(JOBS, json=NOOP, headers=issuer.token("nobody"))).status_code == 403
    assert len(issuer.asked) == 2, "the keys are asked for once"


async def test_tokens_that_are_not_right_are_refused_with_a_reason(world: World, issuer: Issuer) -> None:
    late, other = int(time.time()) - 90, RSAKey.generate_key(2048, {"kid": "first"})
    async with world.gateway(**issuer.settings()) as client:
        for changes in ({"exp": late}, {"aud": "x"}, {"nbf": late + 200}, {"sub": "system:admin"}, {"sub": None}):
            answer = await client.post(JOBS, json=NOOP, headers=issuer.token("alice", **changes))
            assert answer.status_code == 401, changes
            assert "token" in answer.json()["detail"]
        issuer.keys.append(other)
        forged = issuer.token("alice", key=1)
        assert (await client.post(JOBS, json=NOOP, headers=forged)).status_code == 401


async def test_a_new_key_of_the_issuer_is_found_and_made_up_ones_ask_it_once(
    world: World, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.gateway(**issuer.settings()) as client:
        assert await owner(client, issuer.token("alice")) == "alice"
        issuer.keys.append(RSAKey.generate_key(2048, {"kid": "second"}))
        early = await client.post(JOBS, json=NOOP, headers=issuer.token("alice", key=1))
        assert early.status_code == 401, "it was asked a moment ago"
        monkeypatch.setattr(issuers, "PAUSE_SECONDS", 0.0)
        assert await owner(client, issuer.token("alice", key=1)) == "alice"
        monkeypatch.undo()
        asked = len(issuer.asked)
        stranger = Issuer()
        stranger.url = issuer.url
        for number in range(20):
            stranger.keys = [RSAKey.generate_key(2048, {"kid": f"made-up-{number}"})] if number == 0 else stranger.keys
            assert (await client.post(JOBS, json=NOOP, headers=stranger.token("alice"))).status_code == 401
        assert len(issuer.asked) == asked


async def test_without_its_issuer_nobody_new_is_known_and_who_was_known_stays(world: World, issuer: Issuer) -> None:
    issuer.is_away = True
    async with world.gateway(**issuer.settings()) as client:
        answer = await client.post(JOBS, json=NOOP, headers=issuer.token("alice"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert await owner(client, bearer("alice")) == "alice", "other tokens are none of its business"
    issuer.is_away = False
    async with world.gateway(**issuer.settings()) as client:
        assert await owner(client, issuer.token("alice")) == "alice"
        issuer.is_away = True
        assert await owner(client, issuer.token("alice")) == "alice"


async def test_a_service_account_signs_in_with_its_token(world: World) -> None:
    name = f"system:serviceaccount:{TEAM}:robot"
    account = {"kind": "ServiceAccount", "name": "robot", "namespace": TEAM}
    world.team.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}},
        *bound("test-robot", USER, account),
    )
    token = world.team("create", "token", "robot").strip()
    other = world.team("create", "token", "robot", "--audience=batchjob").strip()
    async with world.gateway(default_namespace="default") as client:
        assert await owner(client, {"Authorization": f"Bearer {token}"}) == name
        made = await client.post(JOBS, json=NOOP, headers={"Authorization": f"Bearer {token}"})
        assert made.json()["jobId"].startswith(f"{TEAM}."), "in the account's own namespace"
        assert (await client.post(JOBS, json=NOOP, headers={"Authorization": f"Bearer {other}"})).status_code == 401
        assert (await client.post(JOBS, json=NOOP, headers={"Authorization": f"Bearer {token}x"})).status_code == 401
    async with world.gateway(token_audiences=("batchjob",)) as client:
        assert await owner(client, {"Authorization": f"Bearer {other}"}) == name
        assert (await client.post(JOBS, json=NOOP, headers={"Authorization": f"Bearer {token}"})).status_code == 401
    async with world.gateway(token_review=False) as client:
        assert (await client.post(JOBS, json=NOOP, headers={"Authorization": f"Bearer {token}"})).status_code == 401


async def test_an_api_key_is_good_until_its_entry_goes(world: World, admin: Kubectl) -> None:
    system = admin.within("batchjob-system")
    async with world.gateway() as client:
        assert await owner(client, bearer("alice")) == "alice"
        for token in ("bj_alice_" + "x" * 43, "bj_alice_short", "bj_nowhere_" + "x" * 43):
            answer = await client.post(JOBS, json=NOOP, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401
    entry = system.get("secret", KEYS)["data"]["calm"]
    try:
        system("patch", "secret", KEYS, "--type=merge", "-p", json.dumps({"data": {"calm": None}}))
        async with world.gateway() as client:
            assert (await client.post(JOBS, json=NOOP, headers=bearer("calm"))).status_code == 401
            assert await owner(client, bearer("alice")) == "alice"
    finally:
        system("patch", "secret", KEYS, "--type=merge", "-p", json.dumps({"data": {"calm": entry}}))
    async with world.gateway(api_keys_secret=None) as client:
        assert (await client.post(JOBS, json=NOOP, headers=bearer("alice"))).status_code == 401
