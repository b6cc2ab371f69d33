"""Tokens of an issuer: what is taken, and each way in which a forged or a stale one is not."""

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any, Final

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from batchjob.gateway.identity import AUTHENTICATED, ClaimRules, Identity, Unauthenticated
from batchjob.gateway.tokens import ALGORITHMS, TokenRules, UnknownKey, issuer_of, read_keys, verify

ISSUER: Final = "https://issuer.example"
NOW: Final = 1_800_000_000
RULES: Final = TokenRules(ISSUER, "batchjob", frozenset({"RS256", "ES256", "EdDSA"}))
RSA: Final = RSAKey.generate_key(2048, {"kid": "rsa"})
EC: Final = ECKey.generate_key("P-256", {"kid": "ec"})
ED: Final = OKPKey.generate_key("Ed25519", {"kid": "ed"})
KEYS: Final = read_keys({"keys": [key.as_dict(private=False) for key in (RSA, EC, ED)]})
CLAIMS: Final[dict[str, Any]] = {"iss": ISSUER, "aud": "batchjob", "sub": "alice", "exp": NOW + 300, "iat": NOW}


def signed(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", **changes: Any) -> str:
    header = {"alg": algorithm} | ({"kid": kid} if kid else {})
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return jwt.encode(header, claims, key, algorithms=[algorithm])


def unsigned(header: dict[str, Any], claims: dict[str, Any] = CLAIMS) -> str:
    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # it prefers newer names of EdDSA
def test_a_token_of_each_kind_of_key_is_taken(key: Any, algorithm: str, kid: str) -> None:
    assert verify(signed(key, algorithm, kid), KEYS, RULES, NOW)["sub"] == "alice"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": NOW - 61}, "expired"),
        ({"exp": None}, "lacks"),
        ({"exp": "soon"}, "exp"),
        ({"nbf": NOW + 61}, "not yet"),
        ({"iat": NOW + 61}, "iat|future|not yet"),
        ({"aud": "another"}, "not for here"),
        ({"aud": ["another"]}, "not for here"),
        ({"aud": None}, "lacks"),
        ({"iss": "https://issuer.example.evil"}, "not for here"),
        ({"iss": None}, "lacks"),
    ],
    ids=str,
)
def test_a_token_that_is_not_for_here_and_now_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Unauthenticated, match=words):
        verify(signed(**changes), KEYS, RULES, NOW)


def test_a_minute_between_the_clocks_does_no_harm() -> None:
    for changes in ({"exp": NOW - 59}, {"nbf": NOW + 59}, {"iat": NOW + 59}, {"aud": ["x", "batchjob"]}):
        assert verify(signed(**changes), KEYS, RULES, NOW)["sub"] == "alice"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_a_token_without_a_signature_is_refused(algorithm: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(unsigned({"alg": algorithm, "kid": "rsa"}), KEYS, RULES, NOW)
    with pytest.raises(Unauthenticated):
        verify(unsigned({"kid": "rsa"}), KEYS, RULES, NOW)


@pytest.mark.parametrize("form", ["pem", "jwk"])
def test_the_public_key_is_no_secret_to_sign_with(form: str) -> None:
    public = RSA.as_pem(private=False) if form == "pem" else json.dumps(RSA.as_dict(private=False)).encode()
    unfinished = unsigned({"alg": "HS256", "kid": "rsa"}).rstrip(".")
    signature = hmac.digest(public, unfinished.encode(), "sha256")
    forged = f"{unfinished}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(Unauthenticated):
        verify(forged, KEYS, RULES, NOW)
    assert not ALGORITHMS & {"HS256", "HS384", "HS512", "none"}


def test_an_algorithm_that_is_not_on_the_list_is_refused_whoever_signed() -> None:
    with pytest.raises(Unauthenticated):
        verify(signed(RSA, "PS256"), KEYS, RULES, NOW)


def test_a_key_that_the_issuer_does_not_show_is_told_apart() -> None:
    with pytest.raises(UnknownKey):
        verify(signed(kid="new"), KEYS, RULES, NOW)


def test_another_key_under_a_known_id_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="signature"):
        verify(signed(RSAKey.generate_key(2048)), KEYS, RULES, NOW)


def test_a_key_without_an_id_serves_where_it_is_the_only_one() -> None:
    assert verify(signed(kid=None), KeySet([RSA]), RULES, NOW)["sub"] == "alice"
    with pytest.raises(Unauthenticated, match="kid"):
        verify(signed(kid=None), KEYS, RULES, NOW)


def test_a_token_whose_body_was_changed_is_refused() -> None:
    head, _, signature = signed().split(".")
    body = urlsafe_b64encode(json.dumps(CLAIMS | {"sub": "root"}).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated, match="signature"):
        verify(f"{head}.{body}.{signature}", KEYS, RULES, NOW)


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "....", "e30.e30.", "W10.W10.x", "\x00.\x00.\x00", ("W1" * 2000) + ".e30.x"]
)
def test_nonsense_is_refused_with_a_sentence(token: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(token, KEYS, RULES, NOW)
    assert issuer_of(token) is None


def test_secrets_and_keys_for_encryption_are_no_keys_of_an_issuer() -> None:
    listed = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"},
        {**RSA.as_dict(private=False), "use": "enc"},
        {"kty": "EC", "crv": "P-0"},
        "nonsense",
    ]
    assert read_keys({"keys": listed}).keys == []
    with pytest.raises(TypeError):
        read_keys({"keys": "none"})


def test_a_user_is_named_as_the_api_server_would_name_them() -> None:
    claims = {"sub": "alice", "email": "alice@example.org", "teams": ["x", 3, "system:masters"], "ns": "team-a"}
    assert ClaimRules(ISSUER).identity(claims) == Identity(f"{ISSUER}#alice")
    assert ClaimRules(ISSUER, "email").identity(claims) == Identity("alice@example.org")
    rules = ClaimRules(ISSUER, "sub", "", "teams", "oidc:", "ns")
    assert rules.identity(claims) == Identity("alice", ("oidc:x", "oidc:system:masters", AUTHENTICATED), "team-a")
    assert rules._replace(groups_prefix="").identity(claims).groups == ("x", AUTHENTICATED)


@pytest.mark.parametrize(
    "claims",
    [{}, {"sub": 3}, {"sub": ""}, {"sub": "system:admin"}, {"sub": "x" * 254}],
    ids=["absent", "a number", "empty", "Kubernetes' own", "too long"],
)
def test_claims_that_name_no_user_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        ClaimRules(ISSUER, username_prefix="").identity(claims)


@pytest.mark.parametrize("namespace", ["../kube-system", "team-a/pods", "Team A", "x" * 64, "team-a\n"])
def test_a_claim_that_names_no_namespace_is_refused(namespace: str) -> None:
    rules = ClaimRules(ISSUER, namespace_claim="ns")
    with pytest.raises(Unauthenticated, match="claim ns is not the name of a namespace"):
        rules.identity({"sub": "alice", "ns": namespace})


def test_an_email_that_nobody_verified_is_no_name() -> None:
    with pytest.raises(Unauthenticated, match="verified"):
        ClaimRules(ISSUER, "email").identity({"email": "alice@example.org", "email_verified": False})
