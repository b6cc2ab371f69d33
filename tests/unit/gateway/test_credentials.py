"""What people sign in with, as far as it is pure: headers, API keys, and what a review says."""

import hashlib
from typing import Final

import pytest

from batchjob.errors import ConfigurationError
from batchjob.gateway.cache import Cache
from batchjob.gateway.credentials import ApiKey, bearer, match_key, read_review
from batchjob.gateway.identity import AUTHENTICATED, Identity, Unauthenticated
from batchjob.gateway.settings import GatewaySettings

TOKEN: Final = "bj_ci_" + "s" * 43


def keys(**changes: object) -> dict[str, ApiKey]:
    sha256 = hashlib.sha256(TOKEN.encode()).hexdigest()
    return {"ci": ApiKey.model_validate({"sha256": sha256, "user": "ci", "groups": ["x"], "namespace": "n"} | changes)}


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic YTpi", "Bearer a b", "Bearer " + "x" * 20_000, "Bearer ä"]
)
def test_a_header_without_a_token_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        bearer(header)


def test_a_token_is_read_from_its_header() -> None:
    assert bearer("Bearer a.b-c_d~e+f/g==") == "a.b-c_d~e+f/g=="


def test_an_api_key_signs_its_user_in() -> None:
    assert match_key(TOKEN, keys()) == Identity("ci", ("x", AUTHENTICATED), "n")


@pytest.mark.parametrize("token", [TOKEN[:-1] + "t", "bj_other_" + "s" * 43, "bj_ci_short", "bj_", TOKEN + "\n"])
def test_another_key_signs_nobody_in(token: str) -> None:
    with pytest.raises(Unauthenticated, match="not known"):
        match_key(token, keys())


def test_the_hash_of_a_key_is_no_key() -> None:
    with pytest.raises(Unauthenticated):
        match_key("bj_ci_" + keys()["ci"].sha256, keys())


def test_an_api_key_cannot_be_one_of_kubernetes_own() -> None:
    with pytest.raises(Unauthenticated, match="system:"):
        match_key(TOKEN, keys(user="system:admin"))
    assert match_key(TOKEN, keys(groups=["system:masters"])).groups == (AUTHENTICATED,)


def test_a_review_tells_of_a_service_account_and_its_namespace() -> None:
    name = "system:serviceaccount:team:robot"
    user = {"username": name, "uid": "u", "groups": ["system:authenticated"]}
    found = read_review({"authenticated": True, "user": user}, ())
    assert found == Identity(name, (AUTHENTICATED,), "team", "u")


@pytest.mark.parametrize(
    "status", [{}, {"authenticated": False}, {"authenticated": True, "user": {"username": "a"}, "audiences": ["x"]}]
)
def test_a_review_that_says_no_or_is_for_others_is_refused(status: dict[str, object]) -> None:
    with pytest.raises(Unauthenticated):
        read_review(status, ("batchjob",))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"OIDC_ISSUER": "https://x"}, "OIDC_AUDIENCE"),
        ({"OIDC_ISSUER": "https://x", "OIDC_AUDIENCE": ""}, "empty"),
        ({"OIDC_ISSUER": "http://x", "OIDC_AUDIENCE": "y"}, "https"),
        ({"OIDC_ALGORITHMS": "RS256,HS256"}, "HS256"),
        ({"OIDC_ALGORITHMS": "none"}, "none"),
        ({"OIDC_ALGORITHMS": ""}, "at least"),
    ],
    ids=str,
)
def test_settings_that_would_take_tokens_of_others_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: str
) -> None:
    monkeypatch.setenv("BATCHJOB_STORE_URL", "redis://x")
    for name, value in given.items():
        monkeypatch.setenv(f"BATCHJOB_{name}", value)
    with pytest.raises(ConfigurationError, match=words):
        GatewaySettings.read()


async def test_what_was_asked_a_moment_ago_is_not_asked_again() -> None:
    now, asked = [0.0], []

    async def ask() -> int:
        asked.append(1)
        return len(asked)

    cache: Cache[str, int] = Cache(10, most=2, clock=lambda: now[0])
    assert [await cache.get("a", ask), await cache.get("a", ask)] == [1, 1]
    now[0] = 11
    assert await cache.get("a", ask) == 2
    assert [await cache.get("b", ask), await cache.get("c", ask), await cache.get("a", ask)] == [3, 4, 5]
