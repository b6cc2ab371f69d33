"""Signing in at an OIDC issuer from a browser: the code flow with PKCE (RFC 7636), state and nonce.

The browser is sent to the issuer and comes back with a code, which we change for an ID token: that is what it signs in
with from then on, as if it had been pasted into the form, so one verifier looks at all tokens. What has to be the same
before and after stays in a cookie of the browser that began, so any replica may end what another one began. No refresh
token is asked for: when the ID token ends, the issuer is asked again, without a question to the user where it still
knows them.

Written here and not by a library: those for this framework bring an HTTP client, sessions and a store of their own, for
the one request that is made below; what is hard about tokens joserfc does.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import aiohttp

from batchjob import log
from batchjob.gateway.identity import Unauthenticated
from batchjob.gateway.issuer import Issuer, is_safe
from batchjob.gateway.problems import unavailable
from batchjob.gateway.settings import GatewaySettings

KEPT_SECONDS: Final = 600  # for the issuer's questions: password, second factor
MOST_TARGET: Final = 1500  # characters of where to go after: all of it is in a cookie
_CODE: Final = re.compile(r"[\x21-\x7e]{1,2048}")
_ERROR: Final = re.compile(r"[a-z_]{1,64}")
_OURS: Final = 500
# What an issuer answers where it would have to ask the user, and was told not to.
ASKS: Final = frozenset({"login_required", "interaction_required", "consent_required", "account_selection_required"})

logger = log.get(__name__)


class Begun(NamedTuple):
    """A sign-in that has begun, as the browser keeps it."""

    state: str
    nonce: str
    verifier: str
    target: str  # where to go after it
    is_silent: bool

    def pack(self) -> str:
        """As it stands in a cookie."""
        return urlencode({**self._asdict(), "is_silent": int(self.is_silent)})


def unpack(text: str | None) -> Begun | None:
    """What a cookie holds; None where that is nothing of ours."""
    found = {name: values[0] for name, values in parse_qs(text or "").items()}
    try:
        return Begun(found["state"], found["nonce"], found["verifier"], found["target"], found["is_silent"] == "1")
    except KeyError:
        return None


class Refused(Unauthenticated):
    """The issuer signs nobody in; `must_ask` where it would have to ask the user first.

    `is_guess`: somebody may have tried what they do not have; not where the issuer itself says no.
    """

    def __init__(self, message: str, *, must_ask: bool = False, is_guess: bool = True) -> None:
        super().__init__(message)
        self.must_ask, self.is_guess = must_ask, is_guess


class CodeFlow:
    """Our client at the issuer."""

    def __init__(self, settings: GatewaySettings, issuer: Issuer, path: str) -> None:
        """`path`: of the route where browsers come back."""
        self._issuer = issuer
        self._issuer_name = settings.oidc_issuer or ""
        self._client = settings.oidc_client_id or ""
        secret = settings.oidc_client_secret
        self._secret = secret.get_secret_value() if secret else ""
        self._scopes = " ".join(settings.oidc_scopes)
        self._home = settings.public_url or ""
        self._redirect = self._home + path
        self.label = urlsplit(self._issuer_name).hostname or "the issuer"

    async def begin(self, target: str, *, is_silent: bool = False) -> tuple[str, Begun]:
        """Where to send the browser, and what it has to keep meanwhile."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = Begun(state, nonce, verifier, target[:MOST_TARGET], is_silent)
        digest = hashlib.sha256(begun.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": self._redirect,
            "scope": self._scopes,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | ({"prompt": "none"} if is_silent else {})
        return _with(await self._endpoint("authorization_endpoint"), query), begun

    async def finish(self, query: Mapping[str, str], begun: Begun) -> str:
        """The ID token for what the browser came back with; Refused or Unauthenticated, or a 503."""
        if not hmac.compare_digest(query.get("state", "").encode(), begun.state.encode()):
            raise Refused("it was not begun in this browser, or another one was begun since: begin again")
        if query.get("iss", self._issuer_name) != self._issuer_name:  # RFC 9207
            raise Refused("another issuer answered")
        if (error := query.get("error")) is not None:
            named = error if _ERROR.fullmatch(error) else "an error"
            raise Refused(f"{self.label} says {named}", must_ask=named in ASKS, is_guess=False)
        code = query.get("code", "")
        if not _CODE.fullmatch(code):
            raise Refused(f"{self.label} sent no code")
        token = await self._change(code, begun.verifier)
        claims = await self._issuer.claims(token, only_for=self._client)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), begun.nonce.encode()):
            raise Refused("the token is an answer to another question (nonce): begin again")
        if claims.get("azp", self._client) != self._client:
            raise Refused("the token was made for another client (azp)")
        return token

    async def sign_out(self) -> str | None:
        """Where the issuer can be told too, and comes back to us; None where it has no such page.

        The token is not sent along: addresses are written down on the way.
        """
        if not (await self._issuer.document()).get("end_session_endpoint"):
            return None
        query = {"client_id": self._client, "post_logout_redirect_uri": f"{self._home}/admin/queues/sign-in"}
        return _with(await self._endpoint("end_session_endpoint"), query)

    async def _endpoint(self, name: str) -> str:
        found = (await self._issuer.document()).get(name)
        if not is_safe(found):
            logger.error("the issuer's discovery document has no endpoint that can be used", name=name)
            raise unavailable("The issuer of tokens")
        return str(found)

    async def _change(self, code: str, verifier: str) -> str:
        """The ID token for a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": self._client,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json"}
        methods = (await self._issuer.document()).get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._secret and "client_secret_basic" not in methods and "client_secret_post" in methods:
            form["client_secret"] = self._secret
        elif self._secret:
            pair = f"{quote(self._client, safe='')}:{quote(self._secret, safe='')}"  # RFC 6749, 2.3.1
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        url = await self._endpoint("token_endpoint")
        try:
            status, body = await self._issuer.post(url, form, headers)
            answer: Any = json.loads(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            logger.warning("the issuer does not change a code", error=type(error).__name__)
            raise unavailable("The issuer of tokens") from error
        if status >= _OURS or not isinstance(answer, dict):
            logger.warning("the issuer does not change a code", status=status)
            raise unavailable("The issuer of tokens")
        token = answer.get("id_token")
        if not isinstance(token, str):
            said = str(answer.get("error", ""))
            logger.warning("the issuer refuses a code", status=status, error=said[:64])
            raise Refused(f"{self.label} did not take the code" + (f": {said}" if _ERROR.fullmatch(said) else ""))
        return token


def _with(url: str, query: Mapping[str, str]) -> str:
    return url + ("&" if "?" in url else "?") + urlencode(query)
