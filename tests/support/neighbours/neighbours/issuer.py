"""A small OIDC issuer: discovery, keys, the code flow with PKCE, and switches for what issuers and forgers get wrong.

Whoever types a name is that user: there are no passwords. It knows a browser again by a cookie, so `prompt=none` works.
A client whose id begins with `confidential` has the secret `secret-of-<id>`; every other one is public.
"""

import asyncio
import base64
import hashlib
import html
import secrets
import time
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey

from .faults import Faults
from .ledger import Ledger

CODE_SECONDS: Final = 60
TOKEN_SECONDS: Final = 300
BROWSER: Final = "issuer-user"
# What a fault makes of the claims of an ID token.
CLAIMS: Final[dict[str, dict[str, Any]]] = {
    "wrong_nonce": {"nonce": "another"},
    "wrong_audience": {"aud": "somebody-else"},
    "wrong_issuer": {"iss": "https://elsewhere.example"},
    "wrong_party": {"azp": "somebody-else"},
    "expired": {"exp": 1_000_000_000},
    "not_yet": {"nbf": 4_000_000_000},
}


class Asked(NamedTuple):
    """What a code stands for."""

    user: str
    client: str
    redirect: str
    challenge: str
    nonce: str
    until: float


class IssuerServer:
    """The issuer; its URL is what it is asked by."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self._ledger, self._faults = ledger, faults
        self.keys = [_new_key()]
        self._stranger = _new_key()
        self._codes: dict[str, Asked] = {}

    def build_app(self) -> web.Application:
        """The web application; the caller adds TLS."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", self.discovery),
                web.get("/keys", self.jwks),
                web.get("/authorize", self.authorize),
                web.post("/authorize", self.authorize),
                web.post("/token", self.token),
                web.get("/end-session", self.end_session),
                web.post("/mint", self.mint),
                web.post("/rotate", self.rotate),
            ]
        )
        return app

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        """Where everything is."""
        url = _url(request)
        document = {
            "issuer": url,
            "jwks_uri": f"{url}/keys",
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "end_session_endpoint": f"{url}/end-session",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
        }
        rule = await self._decide(request, "discovery")
        if rule == "other_issuer":
            document["issuer"] = "https://elsewhere.example"
        if rule == "plain_http":
            document["token_endpoint"] = "http://elsewhere.example/token"
        return web.json_response(document)

    async def jwks(self, request: web.Request) -> web.StreamResponse:
        """The public keys."""
        await self._decide(request, "keys")
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """Ask who it is, or know it, and send the browser back with a code."""
        query = request.query
        if query.get("response_type") != "code" or query.get("code_challenge_method") != "S256":
            raise web.HTTPBadRequest(text="response_type=code and code_challenge_method=S256 are needed\n")
        user = str((await request.post()).get("user", "")) or request.cookies.get(BROWSER, "")
        rule = await self._decide(request, f"authorize {user}")
        back: dict[str, str] = {"state": query["state"], "iss": _url(request)}
        if rule in {"access_denied", "login_required"} or (not user and query.get("prompt") == "none"):
            back["error"] = "login_required" if rule != "access_denied" else rule
        elif not user:
            return web.Response(text=_form(request), content_type="text/html")
        else:
            back["code"] = secrets.token_urlsafe(24)
            self._codes[back["code"]] = Asked(
                user, query["client_id"], query["redirect_uri"], query["code_challenge"],
                query.get("nonce", ""), time.monotonic() + CODE_SECONDS,
            )  # fmt: skip
        if rule == "wrong_state":
            back["state"] = "another"
        if rule == "other_iss":
            back["iss"] = "https://elsewhere.example"
        answer = web.Response(status=302, headers={"Location": f"{query['redirect_uri']}?{urlencode(back)}"})
        if user:
            answer.set_cookie(BROWSER, user, httponly=True)
        return answer

    async def token(self, request: web.Request) -> web.StreamResponse:
        """An ID token for a code, once."""
        form = await request.post()
        asked = self._codes.pop(str(form.get("code", "")), None)
        rule = await self._decide(request, f"token {asked.user if asked else ''}")
        error = _fault(request, form, asked)
        if error or asked is None:
            return web.json_response({"error": error}, status=401 if error == "invalid_client" else 400)
        claims = {"sub": asked.user, "aud": asked.client, "nonce": asked.nonce} | CLAIMS.get(rule, {})
        token = self._signed(_url(request), claims, rule)
        told = {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
        return web.json_response(told if rule == "no_id_token" else told | {"id_token": token})

    async def end_session(self, request: web.Request) -> web.StreamResponse:
        """Forget the browser."""
        await self._decide(request, "end-session")
        answer = web.Response(status=302, headers={"Location": request.query["post_logout_redirect_uri"]})
        answer.del_cookie(BROWSER)
        return answer

    async def mint(self, request: web.Request) -> web.StreamResponse:
        """A token with any claims, by its keys: for tests."""
        return web.Response(text=self._signed(_url(request), await request.json(), ""))

    async def rotate(self, _: web.Request) -> web.StreamResponse:
        """A new key from now on; the old ones are shown still."""
        self.keys.insert(0, _new_key())
        return web.Response(status=204)

    def _signed(self, url: str, claims: dict[str, Any], rule: str) -> str:
        now = int(time.time())
        known = {"iss": url, "iat": now, "exp": now + TOKEN_SECONDS} | claims
        key = self._stranger if rule == "wrong_key" else self.keys[0]
        kid = "unknown" if rule == "unknown_key" else self.keys[0].kid
        found = jwt.encode({"alg": "ES256", "kid": kid}, known, key)
        if rule == "unsigned":
            head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
            return f"{head}.{found.split('.')[1]}."
        return found

    async def _decide(self, request: web.Request, text: str) -> str:
        """The action of a rule, if any; those that every neighbour has are done here."""
        verdict = self._faults.decide(text, text)
        rule = verdict.rule
        self._ledger.append(
            time=time.time(), item=text, status=rule.status if rule and rule.action == "status" else 200,
            **({"fault": rule.action} if rule else {}),
        )  # fmt: skip
        await asyncio.sleep(verdict.delay_seconds)
        if rule is not None and rule.action == "status":
            raise _answer(rule.status)
        if rule is not None and rule.action == "disconnect" and request.transport is not None:
            request.transport.close()
        return rule.action if rule is not None else ""


def _new_key() -> ECKey:
    return ECKey.generate_key("P-256", {"kid": secrets.token_hex(4)})


def _fault(request: web.Request, form: Any, asked: Asked | None) -> str:
    """What is wrong with a request for a token, in OAuth's words; empty: nothing."""
    client, secret = str(form.get("client_id", "")), str(form.get("client_secret", ""))
    scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        client, _, secret = (unquote(part) for part in base64.b64decode(pair).decode().partition(":"))
    if client.startswith("confidential") and secret != f"secret-of-{client}":
        return "invalid_client"
    digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    fits = asked and (asked.client, asked.redirect, asked.challenge) == (client, form.get("redirect_uri"), challenge)
    return "" if asked and fits and time.monotonic() < asked.until else "invalid_grant"


def _answer(status: int) -> web.HTTPException:
    class _Refusal(web.HTTPException):
        status_code = status

    return _Refusal(text="a fault\n")


def _url(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _form(request: web.Request) -> str:
    action = html.escape(str(request.rel_url))
    field = '<label>User <input name="user" id="user" autofocus></label><button>Sign in</button>'
    return f'<!doctype html><title>Issuer</title><form method="post" action="{action}">{field}</form>'
