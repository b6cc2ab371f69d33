"""Signing in at an OIDC issuer from a browser: what is sent, what is checked of what comes back, and how it ends."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from tests.support.gateway_world import World
from tests.support.issuer import HOME, Browser, Issuer, local_issuer

ROOT: Final = "/admin/queues"
CALLBACK: Final = f"{HOME}{ROOT}/sign-in/callback"


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with local_issuer(tmp_path) as found:
        yield found


@asynccontextmanager
async def browsing(world: World, issuer: Issuer, **settings: Any) -> AsyncIterator[Browser]:
    async with world.gateway(**issuer.settings(**settings)) as gateway, httpx2.AsyncClient() as other:
        yield Browser(gateway, other)


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def cookies_of(answer: httpx2.Response) -> dict[str, str]:
    """What an answer sets, by name, without values."""
    found = {}
    for line in answer.headers.get_list("set-cookie"):
        pair, _, attributes = line.partition(";")
        found[pair.partition("=")[0]] = attributes.lower()
    return found


async def test_who_signs_in_at_the_issuer_is_its_user_and_comes_back_to_where_they_went(
    world: World, issuer: Issuer
) -> None:
    async with browsing(world, issuer) as browser:
        form = await browser.get(f"{ROOT}/sign-in?next={ROOT}/jobs")
        assert f'href="{ROOT}/sign-in/start?next=%2Fadmin%2Fqueues%2Fjobs"' in form.text
        answer = await browser.sign_in("alice", f"{ROOT}/jobs")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}/jobs"), answer.text
        cookies = cookies_of(answer)
        for name in ("__Host-batchjob", "__Host-batchjob-begun"):
            assert all(word in cookies[name] for word in ("httponly", "secure", "samesite=lax", "path=/"))
            assert "domain" not in cookies[name]
        assert "max-age=0" in cookies["__Host-batchjob-begun"], "it is over"
        page = await browser.get(f"{ROOT}/jobs")
        assert page.status_code == 200
        assert '<span title="alice">' in page.text


async def test_what_is_asked_at_the_issuer_is_new_each_time_and_bound_to_the_browser(
    world: World, issuer: Issuer
) -> None:
    async with browsing(world, issuer) as browser:
        asked = [query_of((await browser.get(f"{ROOT}/sign-in/start")).headers["location"]) for _ in range(2)]
    for query in asked:
        assert (query["response_type"], query["code_challenge_method"], query["redirect_uri"]) == (
            "code", "S256", CALLBACK,
        )  # fmt: skip
        assert query["scope"].split()[0] == "openid"
        assert "client_secret" not in query
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
        assert len(asked[0][name]) >= 43, "256 bits"


@pytest.mark.parametrize("secret", ["secret-of-confidential-ui", "wrong"])
async def test_a_confidential_client_needs_its_secret(world: World, issuer: Issuer, secret: str) -> None:
    async with browsing(world, issuer, oidc_client_id="confidential-ui", oidc_client_secret=secret) as browser:
        answer = await browser.sign_in("alice")
    assert answer.status_code == (422 if secret == "wrong" else 303)
    assert secret not in answer.text


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("wrong_state", "not begun in this browser"),
        ("other_iss", "another issuer"),
        ("access_denied", "says access_denied"),
        ("wrong_nonce", "nonce"),
        ("wrong_audience", "not for here"),
        ("wrong_issuer", "not for here"),
        ("wrong_party", "azp"),
        ("expired", "expired"),
        ("not_yet", "not yet"),
        ("wrong_key", "signature"),
        ("unknown_key", "does not show"),
        ("unsigned", "token"),
        ("no_id_token", "did not take the code"),
    ],
)
async def test_what_comes_back_wrong_signs_nobody_in(world: World, issuer: Issuer, fault: str, words: str) -> None:
    issuer.break_by(fault, "authorize alice" if fault in {"wrong_state", "other_iss", "access_denied"} else "token")
    async with browsing(world, issuer) as browser:
        answer = await browser.sign_in("alice")
        assert (answer.status_code, words in answer.text) == (422, True), answer.text
        assert "__Host-batchjob" not in cookies_of(answer)
        assert "max-age=0" in cookies_of(answer)["__Host-batchjob-begun"]
        assert (await browser.get(ROOT)).status_code == 303
        issuer.behave()
        assert (await browser.sign_in("alice")).status_code == 303


@pytest.mark.parametrize(
    ("fault", "match"),
    [("status", "token"), ("disconnect", "token"), ("status", "discovery"), ("other_issuer", "discovery"),
     ("plain_http", "discovery")],
)  # fmt: skip
async def test_an_issuer_that_fails_is_a_503_and_nobody_is_signed_in(
    world: World, issuer: Issuer, fault: str, match: str
) -> None:
    issuer.break_by(fault, match, status=502)
    async with browsing(world, issuer) as browser:
        answer = await browser.get(f"{ROOT}/sign-in/start")
        if answer.status_code == 303:
            answer = await browser.sign_in("alice")
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        assert "127.0.0.1" not in answer.text
        assert "__Host-batchjob" not in cookies_of(answer)
        assert (await browser.get(f"{ROOT}/sign-in")).status_code == 200, "a token in the form is still a way in"


async def test_a_callback_that_nobody_began_here_does_nothing(world: World, issuer: Issuer) -> None:
    async with browsing(world, issuer) as attacker:
        there = (await attacker.get(f"{ROOT}/sign-in/start")).headers["location"]
        async with httpx2.AsyncClient() as other:
            mine = (await other.post(there, data={"user": "mallory"})).headers["location"]
    async with browsing(world, issuer) as victim:
        for _ in range(2):
            answer = await victim.get(mine)
            assert (answer.status_code, "not begun in this browser" in answer.text) == (422, True)
            assert "__Host-batchjob" not in cookies_of(answer)
            await victim.get(f"{ROOT}/sign-in/start")  # one of its own has begun: another state
        back = await victim.sign_in("alice")
        assert back.status_code == 303
        again = await victim.get(mine.replace("state=", "state=x"))
        assert again.status_code == 422


async def test_a_code_is_good_once(world: World, issuer: Issuer) -> None:
    async with browsing(world, issuer) as browser, httpx2.AsyncClient() as other:
        start = await browser.get(f"{ROOT}/sign-in/start")
        back = (await other.post(start.headers["location"], data={"user": "alice"})).headers["location"]
        kept = start.headers["set-cookie"].partition(";")[0]
        assert (await browser.get(back)).status_code == 303
        again = await browser.get(back, Cookie=kept)
        assert (again.status_code, "invalid_grant" in again.text) == (422, True)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/admin/queuesx"])
async def test_nobody_is_sent_elsewhere_after_signing_in(world: World, issuer: Issuer, target: str) -> None:
    async with browsing(world, issuer) as browser:
        answer = await browser.sign_in("alice", target)
        assert (answer.status_code, answer.headers["location"]) == (303, ROOT)


async def test_a_session_ends_with_its_token_and_begins_again_without_a_question(world: World, issuer: Issuer) -> None:
    async with browsing(world, issuer) as browser:
        assert (await browser.sign_in("alice")).status_code == 303
        ended = await issuer.token(sub="alice", aud="batchjob-ui", exp=int(time.time()) - 90)
        old = {"Cookie": f"__Host-batchjob={ended}"}
        answer = await browser.get(f"{ROOT}/jobs?q=status:failed", **old)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"{ROOT}/sign-in/again?next=")
        assert "max-age=0" in cookies_of(answer)["__Host-batchjob"]
        quiet = await browser.get(f"{ROOT}/jobs", **old, **{"Sec-Fetch-Mode": "cors"})
        assert quiet.headers["location"].startswith(f"{ROOT}/sign-in?next="), "a script cannot follow to another site"
        there = await browser.get(answer.headers["location"])
        assert query_of(there.headers["location"])["prompt"] == "none"
        page = await browser.follow(there)
        assert (page.status_code, page.url.query) == (200, b"q=status:failed")


async def test_an_issuer_that_does_not_know_the_browser_any_more_asks(world: World, issuer: Issuer) -> None:
    async with browsing(world, issuer) as browser:
        silent = (await browser.get(f"{ROOT}/sign-in/again?next={ROOT}/jobs")).headers["location"]
        back = await browser.get(silent)
        assert query_of(back.headers["location"])["error"] == "login_required"
        answer = await browser.get(back.headers["location"])
        assert answer.headers["location"] == f"{ROOT}/sign-in/start?next=%2Fadmin%2Fqueues%2Fjobs"


async def test_signing_out_forgets_the_token_and_tells_where_the_issuer_can_be_told(
    world: World, issuer: Issuer
) -> None:
    async with browsing(world, issuer) as browser:
        signed = await browser.sign_in("alice")
        token = signed.headers["set-cookie"].partition("=")[2].partition(";")[0]
        answer = await browser.post(f"{ROOT}/sign-out")
        assert (answer.status_code, "max-age=0" in cookies_of(answer)["__Host-batchjob"]) == (200, True)
        assert token not in answer.text
        assert f'href="{issuer.url}/end-session?client_id=batchjob-ui' in answer.text
        assert (await browser.get(ROOT)).status_code == 303
        issuer.break_by("status", "end-session", status=500)
        assert (await browser.get(f"{ROOT}/sign-in")).status_code == 200


async def test_tokens_of_the_client_and_of_the_audience_are_taken_and_no_others(world: World, issuer: Issuer) -> None:
    async with browsing(world, issuer) as browser:
        for audience, code in (("batchjob", 200), ("batchjob-ui", 200), ("another", 401)):
            token = await issuer.token(sub="alice", aud=audience)
            answer = await browser.get("/api/v1/batch-jobs", Authorization=f"Bearer {token}")
            assert answer.status_code == code, audience


async def test_without_a_client_there_is_the_form_alone(world: World, issuer: Issuer) -> None:
    async with browsing(world, issuer, oidc_client_id=None) as browser:
        assert "sign-in/start" not in (await browser.get(f"{ROOT}/sign-in")).text
        for path in ("start", "again", "callback?code=x&state=y"):
            assert (await browser.get(f"{ROOT}/sign-in/{path}")).status_code == 404
