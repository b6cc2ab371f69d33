"""Nobody is anybody else: every route of the gateway, asked by everybody, with every token that is none."""

import io
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2
import pytest

from batchjob import log
from batchjob.gateway.app import ROUTERS
from tests.support.gateway import build_gateway
from tests.support.gateway_world import TEAM, World, key_of
from tests.support.issuer import Issuer, local_issuer
from tests.support.tenancy import JOBS, NOOP, ROLES, SEED, SEED_BODY, SIGN_IN, TABLE, UI, Row, forged_tokens, routes
from tests.support.tenancy_client import Asker, serving

PRIVATE: Final = [row for row in TABLE if not row.is_public]
SEED_OF: Final[dict[str, Any]] = {
    "custom": None,
    "type": "ai-batch",
    "aiBatch": {**SEED_BODY["options"], "formSchema": SEED_BODY["formSchema"]},
}
UNSAFE_PAGES: Final = [row for row in TABLE if row.is_page and row.method == "POST"]
LISTS: Final = (JOBS, "/api/v1/schedules", f"{UI}/jobs", f"{UI}/dead-letters", f"{UI}/schedules", UI)
OTHER_SITES: Final = ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-site"},
                      {"Sec-Fetch-Site": "", "Origin": "https://evil.example"})  # fmt: skip
# What proxies of other systems say somebody is; nothing here believes it.
FORGED_HEADERS: Final = dict.fromkeys(
    ("X-Owner", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "Remote-User", "X-User-Id",
     "Impersonate-User", "X-Auth-Request-User", "X-Webauth-User"), "alice",
) | {"X-Forwarded-For": "127.0.0.1"}  # fmt: skip
FORGED_QUERY: Final = "owner=alice&user=alice&userId=alice&impersonate=alice&as=alice"


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with local_issuer(tmp_path) as found:
        yield found


@pytest.fixture
async def asker(world: World, issuer: Issuer) -> AsyncIterator[Asker]:
    async with serving(world.app(**issuer.settings()), world) as found:
        await found.prepare()
        yield found


def test_no_route_is_left_out_of_the_table() -> None:
    assert len(build_gateway().routes) == len(ROUTERS) + 1, "the routers, and openapi.json"
    assert {row.name for row in TABLE} == routes() - {"HEAD /openapi.json"}
    assert len(TABLE) * len(ROLES) + len(PRIVATE) * 19 >= 200


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_each_role_is_answered_as_the_table_says(asker: Asker, row: Row) -> None:
    changes = row.method != "GET" and row.is_of_a_job
    shared = await asker.new_job(**SEED_OF if row.path.startswith(SEED) and "{job}" in row.path else {})
    for role, expected in zip(ROLES, row.codes, strict=True):
        job = await asker.new_job() if changes or row.path.endswith("bulk") else shared
        found = await asker.ask(row, key_of(role) if role else None, job)
        assert (role, found) == (role, expected), asker.answers[-1]


@pytest.mark.parametrize("row", PRIVATE, ids=lambda row: row.name)
async def test_a_token_that_is_none_opens_nothing(asker: Asker, issuer: Issuer, row: Row) -> None:
    wanted = 4401 if row.method == "WS" else SIGN_IN if row.is_page else 401
    tokens = await forged_tokens(issuer)
    assert len(tokens) >= 15
    found = {name: await asker.ask(row, token) for name, token in tokens.items()}
    assert found == dict.fromkeys(tokens, wanted)
    good = await issuer.token(sub="alice", aud="batchjob")
    assert await asker.ask(row, good, await asker.new_job()) == row.codes[0] or row.path.startswith(SEED)


@pytest.mark.parametrize("row", UNSAFE_PAGES, ids=lambda row: row.name)
async def test_another_sites_page_changes_nothing(asker: Asker, row: Row) -> None:
    for headers in OTHER_SITES:
        assert await asker.ask(row, key_of("gw-admin"), headers=headers) == 403


async def test_a_forged_owner_shows_nothing_of_anothers(asker: Asker) -> None:
    asker.answers.clear()
    _, _, name = asker.job.partition(".")
    for path in LISTS:
        for query in (FORGED_QUERY, f"{FORGED_QUERY}&q={quote('owner:alice')}"):
            answer = await asker.send("GET", f"{path}?{query}", key_of("bob"), headers=FORGED_HEADERS)
            assert answer.status_code == 200, path
    told = "".join(asker.taken())
    assert name not in told
    assert "of-alice" not in told
    assert await asker.watch("/ws?owner=alice", key_of("bob")) == 4404
    assert await asker.watch(f"/ws?owner=alice&namespace={TEAM}", key_of("bob")) == 4404
    assert await asker.watch("/ws?owner=alice", key_of("gw-admin")) == "ready"


async def test_a_forged_owner_makes_nothing_in_anothers_name(asker: Asker) -> None:
    bob = key_of("bob")
    plain = await asker.send("POST", f"{JOBS}?{FORGED_QUERY}", bob, json=NOOP, headers=FORGED_HEADERS)
    assert plain.status_code == 202
    job = json.loads(asker.answers[-1].partition("}[")[0] + "}")["jobId"]
    assert (await asker.stored(job))["spec"]["owner"] == "bob"
    schedule = {"schedules": ["0 9 * * 1"], "jobTemplate": {"spec": NOOP | {"items": None}}, "name": "forged"}
    for path, body in (
        (JOBS, {**NOOP, "owner": "alice"}),
        (SEED, {**SEED_BODY, "options": {**SEED_BODY["options"], "owner": "alice"}}),
        ("/api/v1/schedules", {**schedule, "owner": "alice"}),
    ):
        answer = await asker.send("POST", path, bob, json=body)
        assert answer.status_code in {403, 422}, path


def guesses(job: str, uid: str) -> list[str]:
    namespace, _, name = job.partition(".")
    return [job, job.upper(), f"{job}.", f".{job}", f"{namespace}..{name}", f"{namespace}.{uid}", uid, name,
            f"{namespace}%2F{name}", f"{namespace}.{name}%00", f"{namespace}.*", f"*.{name}", f"{namespace}.{name}%20",
            f"..%2f..%2f{name}", f"default.{name}"]  # fmt: skip


async def test_an_id_that_is_guessed_says_nothing_not_even_that_it_exists(asker: Asker) -> None:
    job = asker.job
    uid = (await asker.stored(job))["metadata"]["uid"]
    for room in ("", "/items", "/errors", "/results", "/events"):
        for guess in guesses(job, uid):
            answer = await asker.send("GET", f"{JOBS}/{guess}{room}", key_of("bob"))
            assert answer.status_code in {403, 404}, (guess, room)  # 403: in another namespace bob has no rights
            assert answer.status_code == 404 or not guess.startswith(TEAM)
    for path in (f"{JOBS}/{job}", f"{UI}/jobs/{job.replace('.', '/')}", f"{UI}/jobs/{job.replace('.', '/')}/items/1"):
        asker.answers.clear()
        for one in (path, path.replace(job.partition(".")[2], "never-made")):
            await asker.send("GET", one, key_of("bob"), headers={"X-Request-Id": "same"})
        there, nowhere = (text.replace(job.partition(".")[2], "never-made") for text in asker.answers)
        assert _without_dates(there) == _without_dates(nowhere)


def _without_dates(text: str) -> str:
    return "".join(line for line in text.split("('") if not line.startswith(("date'", "ratelimit'", "content-length'")))


async def test_anothers_cursor_leads_nowhere(asker: Asker) -> None:
    asker.answers.clear()
    await asker.send("GET", f"{JOBS}/{asker.job}/items?limit=1", key_of("alice"))
    for cursor in (0, 1, 2):
        there = f"{JOBS}/{asker.job}/items?limit=1&cursor={cursor}"
        assert (await asker.send("GET", there, key_of("bob"))).status_code == 404
    trail = await asker.send("GET", "/api/v1/audit?limit=1", key_of("gw-admin"))
    following = trail.headers["link"].partition(">")[0][1:]
    assert (await asker.send("GET", following, key_of("gw-admin"))).status_code == 200
    assert (await asker.send("GET", following, key_of("alice"))).status_code == 403
    page = following.replace("/api/v1/audit", f"{UI}/audit")
    assert (await asker.send("GET", page, key_of("alice"))).status_code == 403


async def test_what_was_planted_as_a_secret_shows_nowhere(world: World, issuer: Issuer) -> None:
    lines = io.StringIO()
    log.configure(stream=lines)
    planted = {name: f"canary-{name}-{uuid.uuid4().hex}" for name in ("secret", "model", "item", "client")}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted"}}
    world.team.apply(secret | {"stringData": {"KEY": planted["secret"], "MODEL": planted["model"]}})
    settings = issuer.settings(oidc_client_secret=planted["client"])
    try:
        async with serving(world.app(**settings), world) as asker:
            await asker.prepare()
            forged = await forged_tokens(issuer)
            names = ("expired", "by a stranger's key", "an API key with another secret")
            tokens = {"alice": await issuer.token(sub="alice", aud="batchjob")} | {name: forged[name] for name in names}
            reference = {"apiKeySecretRef": {"name": "planted", "key": "MODEL"}}
            body = {**SEED_OF, "items": [{"id": "1", "data": {"text": planted["item"]}}]}
            body["aiBatch"] = {**body["aiBatch"], "model": {"name": "m", "baseUrl": "http://m/v1", **reference}}
            job = await asker.new_job(**body)
            mine = "".join(asker.taken())
            for row in TABLE:
                for token in (key_of("bob"), *tokens.values()):
                    await asker.ask(row, token, job if token != tokens["alice"] else asker.job)
            told = mine + "".join(asker.taken())
            trail = await asker.send("GET", "/api/v1/audit?limit=500", key_of("gw-admin"))
            strangers = await asker.send("GET", "/api/v1/audit?limit=500&signedIn=false", key_of("gw-admin"))
            assert (trail.status_code, strangers.status_code) == (200, 200)
            told += "".join(asker.taken())
    finally:
        log.configure("error")
    secrets = {*planted.values(), *tokens.values(), *map(key_of, ("alice", "bob", "nobody", "gw-admin"))}
    written = lines.getvalue()
    assert "audit" in written
    for secret_text in secrets:
        assert secret_text not in told, "in an answer"
        assert secret_text not in written, "in the log"
    assert "Traceback" not in written


async def test_keys_cannot_be_guessed(world: World) -> None:
    address = {"X-Forwarded-For": f"203.0.113.{uuid.uuid4().int % 250}"}
    settings: dict[str, Any] = {"failed_sign_ins_per_minute": 5, "trusted_proxies": ("127.0.0.0/8",)}
    async with world.gateway(**settings) as client:
        assert (await _jobs(client, key_of("bob"), address)).status_code == 200
        codes = [(await _jobs(client, f"bj_alice_{uuid.uuid4().hex}", address)).status_code for _ in range(8)]
        assert codes == [401] * 5 + [429] * 3
        late = await _jobs(client, key_of("alice"), address)
        assert (late.status_code, 1 <= int(late.headers["retry-after"]) <= 60) == (429, True)
        assert (await _jobs(client, key_of("bob"), address)).status_code == 200, "who signed in before goes on"
        elsewhere = {"X-Forwarded-For": "198.51.100.1"}
        assert (await _jobs(client, key_of("alice"), elsewhere)).status_code == 200
    async with world.gateway(**settings) as another:
        assert (await _jobs(another, "bj_alice_" + "y" * 40, address)).status_code == 401, "it learns of it now"
        assert (await _jobs(another, key_of("alice"), address)).status_code == 429


async def _jobs(client: httpx2.AsyncClient, token: str, headers: dict[str, str]) -> httpx2.Response:
    return await client.get(JOBS, headers={"Authorization": f"Bearer {token}", **headers})
