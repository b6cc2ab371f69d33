"""Tokens of an OIDC issuer: who signed them, for whom, and until when. Pure: keys and clock are arguments.

The algorithms that count are ours to say, never the token's: `none` is not one of them, nor is HS*, where whoever knows
the issuer's public key could sign. A key without an id serves only where it is the only one.
"""

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from joserfc import jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import JWKRegistry, Key, KeySet

from batchjob.gateway.identity import Unauthenticated

SKEW_SECONDS: Final = 60  # between the issuer's clock and ours
MAX_TOKEN: Final = 16 * 1024  # characters
# Those with a public key, without RSA's old padding for encryption; each is a choice of its own in the settings.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_SIGNING: Final = frozenset({"RSA", "EC", "OKP"})  # kty: never oct, a secret that both sides would know


class UnknownKey(Unauthenticated):
    """Signed with a key that we do not know: the issuer may have a new one."""


class TokenRules(NamedTuple):
    """What a token has to say to be one for us."""

    issuer: str
    audience: str
    algorithms: frozenset[str] = frozenset({"RS256", "ES256"})
    client: str | None = None  # whose ID tokens are for us too


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """The keys of a JWKS that can sign; TypeError where it is none."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise TypeError("it has no list of keys")
    keys: list[Key] = []
    for entry in listed:
        if isinstance(entry, dict) and entry.get("kty") in _SIGNING and entry.get("use", "sig") == "sig":
            try:
                keys.append(JWKRegistry.import_key(entry))
            except (JoseError, ValueError, TypeError):  # of a curve that nobody here knows, say
                continue
    return KeySet(keys)


def issuer_of(token: str) -> str | None:
    """Who a token says it is from, believed by nobody yet: it only tells whom to ask. None: it is no JWT."""
    try:
        _, body, _ = token.split(".")
        claims = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def verify(token: str, keys: KeySet, rules: TokenRules, now: int) -> dict[str, Any]:
    """The claims of a token; Unauthenticated says why not, UnknownKey where its key is not among `keys`."""
    try:
        found = jwt.decode(token, _key_of(token, keys), algorithms=rules.algorithms)
        registry = jwt.JWTClaimsRegistry(
            now=now,
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "values": [name for name in (rules.audience, rules.client) if name]},
            exp={"essential": True},
        )
        registry.validate(found.claims)
    except ExpiredTokenError:
        raise Unauthenticated("the token has expired: get a new one") from None
    except MissingClaimError as error:
        raise Unauthenticated(f"the token lacks {error.description or 'a claim'}") from None
    except InvalidClaimError as error:
        raise Unauthenticated(f"the token is not for here, or not yet: {error.description}") from None
    except BadSignatureError:
        raise Unauthenticated("the token's signature is wrong") from None
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Unauthenticated(f"the token is none that we take: {type(error).__name__}") from None
    return dict(found.claims)


def _key_of(token: str, keys: KeySet) -> Key:
    header = _header(token)
    kid = header.get("kid")
    if kid is None:
        if len(keys.keys) != 1:
            raise Unauthenticated("the token does not name its key (kid), and its issuer has several")
        return keys.keys[0]
    for key in keys.keys:
        if key.kid == kid:
            return key
    raise UnknownKey("the token is signed with a key that its issuer does not show")


def _header(token: str) -> dict[str, Any]:
    head = token.partition(".")[0]
    found = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    if not isinstance(found, dict):
        raise TypeError("a header that is no object")
    return found


def checked_algorithms(names: Collection[str]) -> frozenset[str]:
    """The algorithms of a setting; ValueError names one that we never take."""
    if unknown := sorted(set(names) - ALGORITHMS):
        raise ValueError(f"{unknown[0]} is none that can be taken: choose of {', '.join(sorted(ALGORITHMS))}")
    if not names:
        raise ValueError("name one at least, such as RS256")
    return frozenset(names)
