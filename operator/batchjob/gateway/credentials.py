"""Who a bearer token belongs to: an API key of ours, a token of the OIDC issuer, or one that Kubernetes knows.

An API key is `bj_<id>_<secret>`; the Secret of keys has an entry `<id>` with the SHA-256 of the whole key and its user,
so whoever may read that Secret can sign in as nobody. The secret is random, not a password: a slow hash would only
make us slow. Kubernetes is asked by TokenReview, and a token is remembered by its hash for a few seconds.
"""

import base64
import hashlib
import hmac
import re
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from batchjob import log
from batchjob.errors import NotFound
from batchjob.gateway.cache import Cache
from batchjob.gateway.code_flow import CodeFlow
from batchjob.gateway.identity import ClaimRules, Identity, Unauthenticated, checked
from batchjob.gateway.issuer import Issuer
from batchjob.gateway.reviews import review
from batchjob.gateway.settings import GatewaySettings
from batchjob.gateway.tokens import MAX_TOKEN, TokenRules, issuer_of
from batchjob.kube import SECRETS, TOKEN_REVIEWS, Kube

REVIEW_SECONDS: Final = 30.0  # a token that was withdrawn is taken for so long
KEYS_SECONDS: Final = 10.0  # and an API key
CALLBACK: Final = "/admin/queues/sign-in/callback"  # where browsers come back from the issuer
API_KEY: Final = re.compile(r"bj_([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)_[A-Za-z0-9_-]{32,128}")
_BEARER: Final = re.compile(r"[Bb]earer +([A-Za-z0-9\-._~+/]+=*)")  # RFC 6750
_ACCOUNT: Final = re.compile(r"system:serviceaccount:([^:]+):[^:]+")
NO_KEY: Final = "the API key is not known, or not any more"

logger = log.get(__name__)


class ApiKey(BaseModel):
    """An entry of the Secret of keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    user: str
    groups: tuple[str, ...] = ()
    namespace: str | None = None


def bearer(header: str | None) -> str:
    """The token of an Authorization header."""
    if not header:
        raise Unauthenticated("send a token: Authorization: Bearer <token>")
    found = _BEARER.fullmatch(header.strip()) if len(header) <= MAX_TOKEN else None
    if found is None:
        raise Unauthenticated("the Authorization header is no Bearer <token>")
    return found[1]


def match_key(token: str, keys: dict[str, ApiKey]) -> Identity:
    """Whose API key it is."""
    found = API_KEY.fullmatch(token)
    key = keys.get(found[1]) if found else None
    digest = hashlib.sha256(token.encode()).hexdigest()
    if key is None or not hmac.compare_digest(digest, key.sha256.lower()):
        raise Unauthenticated(NO_KEY)
    return checked(Identity(key.user, key.groups, key.namespace))


def read_review(status: dict[str, Any], audiences: tuple[str, ...]) -> Identity:
    """Who a TokenReview says it is. Names of Kubernetes' own are right here: it says so itself."""
    if status.get("authenticated") is not True:
        raise Unauthenticated("the token is not known here, or has expired")
    if audiences and not set(audiences) & set(status.get("audiences") or ()):
        raise Unauthenticated(f"the token is not for here: its audience has to be {audiences[0]}")
    user = status["user"]
    account = _ACCOUNT.fullmatch(user["username"])
    return Identity(
        user["username"], tuple(user.get("groups") or ()), account[1] if account else None, user.get("uid") or ""
    )


class Credentials:
    """All that can be signed in with. `identify` is the one question."""

    def __init__(self, settings: GatewaySettings, kube: Kube) -> None:
        self._settings, self._kube = settings, kube
        self._reviews: Cache[bytes, Identity | str] = Cache(REVIEW_SECONDS)
        self._keys: Cache[str, dict[str, ApiKey]] = Cache(KEYS_SECONDS)
        self.code_flow: CodeFlow | None = None  # of the admin UI
        self._issuer: Issuer | None = None
        if settings.oidc_issuer and settings.oidc_audience:
            algorithms, client = frozenset(settings.oidc_algorithms), settings.oidc_client_id
            rules = TokenRules(settings.oidc_issuer, settings.oidc_audience, algorithms, client)
            self._issuer = Issuer(rules, settings.oidc_jwks_uri, settings.oidc_ca_file)
            if client:
                self.code_flow = CodeFlow(settings, self._issuer, CALLBACK)
            self._claims = ClaimRules(
                settings.oidc_issuer,
                settings.oidc_username_claim,
                settings.oidc_username_prefix,
                settings.oidc_groups_claim,
                settings.oidc_groups_prefix,
                settings.oidc_namespace_claim,
            )

    async def identify(self, header: str | None) -> Identity:
        """Who sends this Authorization header; Unauthenticated says what is wrong with it."""
        token = bearer(header)
        if token.startswith("bj_"):
            return match_key(token, await self._known_keys())
        if self._issuer and issuer_of(token) == self._settings.oidc_issuer:
            return self._claims.identity(await self._issuer.claims(token))
        if not self._settings.token_review:
            raise Unauthenticated("the token is of an issuer that is not known here")
        digest = hashlib.sha256(token.encode()).digest()
        found = await self._reviews.get(digest, lambda: self._review(token))
        if isinstance(found, str):
            raise Unauthenticated(found)
        return found

    async def _review(self, token: str) -> Identity | str:
        """An identity, or why there is none: either is remembered."""
        audiences = self._settings.token_audiences
        spec = {"token": token} | ({"audiences": [*audiences]} if audiences else {})
        status = await review(self._kube, TOKEN_REVIEWS, spec)
        try:
            return read_review(status, audiences)
        except Unauthenticated as error:
            return str(error)

    async def _known_keys(self) -> dict[str, ApiKey]:
        name = self._settings.api_keys_secret
        return await self._keys.get(name, lambda: self._read_keys(name)) if name else {}

    async def _read_keys(self, name: str) -> dict[str, ApiKey]:
        try:
            secret = await self._kube.get(SECRETS, self._settings.pod_namespace, name)
        except NotFound:
            return {}
        keys = {}
        for key_id, encoded in (secret.get("data") or {}).items():
            try:
                keys[key_id] = ApiKey.model_validate_json(base64.b64decode(encoded))
            except ValidationError as error:
                wrong = [".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors()]
                logger.warning("an entry of the Secret of API keys cannot be used", key=key_id, error=wrong)
        return keys
