"""The keys of an OIDC issuer: found by its discovery document, kept, and asked for again where a token names another.

Anybody may send a token with a made-up key id, so the issuer is asked again only once in a while. While it does not
answer, the keys that are known go on to serve: sessions outlive an outage of the issuer.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from joserfc.jwk import KeySet

from batchjob import log
from batchjob.errors import ConfigurationError
from batchjob.gateway.problems import unavailable
from batchjob.gateway.settings import LOCAL_HOSTS
from batchjob.gateway.tokens import TokenRules, UnknownKey, read_keys, verify

KEPT_SECONDS: Final = 3600.0  # then they are asked for again, in case one was withdrawn
PAUSE_SECONDS: Final = 30.0  # between two askings, whatever tokens say
ASK_SECONDS: Final = 5.0
MAX_BYTES: Final = 1024 * 1024  # of an answer

_TROUBLE: Final = (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, AttributeError)

logger = log.get(__name__)


class Issuer:
    """An issuer and its keys. `jwks_uri` None: as its discovery document says."""

    def __init__(
        self,
        rules: TokenRules,
        jwks_uri: str | None = None,
        ca_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules, self._jwks_uri, self._clock = rules, jwks_uri, clock
        self._ssl = _trust(ca_file)
        self._keys: KeySet | None = None
        self._read_at = self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._document: dict[str, Any] | None = None
        self._discovered_at = self._sought_at = float("-inf")
        self._discovering = asyncio.Lock()

    async def claims(self, token: str, *, only_for: str | None = None) -> dict[str, Any]:
        """The claims of a token of this issuer; Unauthenticated, or a 503 where its keys are not known.

        `only_for`: the one audience that counts; None: all that the rules name.
        """
        rules = self._rules._replace(audience=only_for, client=None) if only_for else self._rules
        keys = await self._known()
        now = int(time.time())
        try:
            return verify(token, keys, rules, now)
        except UnknownKey:
            await self._ask()
            return verify(token, self._keys or keys, rules, now)

    async def document(self) -> dict[str, Any]:
        """Its discovery document: what it was a while ago, where it does not answer; else a 503."""
        async with self._discovering:
            now = self._clock()
            if now - self._discovered_at > KEPT_SECONDS and now - self._sought_at >= PAUSE_SECONDS:
                self._sought_at = now
                try:
                    async with self._session() as session:
                        await self._discover(session)
                except _TROUBLE as error:
                    logger.warning("the issuer cannot be discovered", issuer=self._rules.issuer, error=repr(error))
        if self._document is None:
            raise unavailable("The issuer of tokens", PAUSE_SECONDS)
        return self._document

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a form to an endpoint of its; aiohttp.ClientError, TimeoutError or ValueError where that fails."""
        async with (
            self._session() as session,
            session.post(url, data=form, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status, await _read(url, answer)

    async def _known(self) -> KeySet:
        if self._keys is None or self._clock() - self._read_at > KEPT_SECONDS:
            await self._ask()
        if self._keys is None:
            raise unavailable("The issuer of tokens", PAUSE_SECONDS)
        return self._keys

    async def _ask(self) -> None:
        """Ask the issuer, unless somebody did so a moment ago."""
        async with self._asking:
            if self._clock() - self._asked_at < PAUSE_SECONDS:
                return
            self._asked_at = self._clock()
            try:
                self._keys = read_keys(await self._fetch())
                self._read_at = self._clock()
            except _TROUBLE as error:
                logger.warning("the keys of the issuer cannot be read", issuer=self._rules.issuer, error=repr(error))

    async def _fetch(self) -> Any:
        async with self._session() as session:
            uri = self._jwks_uri or str((await self._discover(session))["jwks_uri"])
            if not is_safe(uri):
                raise ValueError(f"jwks_uri is {uri!r:.200}: keys that came over plain HTTP are anybody's")
            return await _json(session, uri)

    async def _discover(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        found = await _json(session, f"{self._rules.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found["issuer"] != self._rules.issuer:
            raise ValueError(f"it says that it is {found['issuer']!r:.200}")
        self._document, self._discovered_at = dict(found), self._clock()
        return self._document

    def _session(self) -> aiohttp.ClientSession:
        limit = aiohttp.ClientTimeout(total=ASK_SECONDS)
        return aiohttp.ClientSession(timeout=limit, connector=aiohttp.TCPConnector(ssl=self._ssl))


def is_safe(url: Any) -> bool:
    """Whether nobody on the way to an address of the issuer can answer in its place."""
    parts = urlsplit(url) if isinstance(url, str) else None
    return parts is not None and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS))


async def _json(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:  # noqa: PLR2004 - HTTP's own
            raise ValueError(f"{url} answers {answer.status}")
        return json.loads(await _read(url, answer))


async def _read(url: str, answer: aiohttp.ClientResponse) -> bytes:
    body = await answer.content.read(MAX_BYTES + 1)
    while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES)):
        body += more
    if len(body) > MAX_BYTES:
        raise ValueError(f"{url} answers more than {MAX_BYTES} bytes")
    return body


def _trust(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"settings: BATCHJOB_OIDC_CA_FILE: {ca_file} cannot be used: {error}") from error
