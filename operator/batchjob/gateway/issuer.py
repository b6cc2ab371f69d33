"""The keys of an OIDC issuer: found by its discovery document, kept, and asked for again where a token names another.

Anybody may send a token with a made-up key id, so the issuer is asked again only once in a while. While it does not
answer, the keys that are known go on to serve: sessions outlive an outage of the issuer.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
from joserfc.jwk import KeySet

from batchjob import log
from batchjob.errors import ConfigurationError
from batchjob.gateway.problems import unavailable
from batchjob.gateway.tokens import TokenRules, UnknownKey, read_keys, verify

KEPT_SECONDS: Final = 3600.0  # then they are asked for again, in case one was withdrawn
PAUSE_SECONDS: Final = 30.0  # between two askings, whatever tokens say
ASK_SECONDS: Final = 5.0
MAX_BYTES: Final = 1024 * 1024  # of an answer

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

    async def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token of this issuer; Unauthenticated, or a 503 where its keys are not known."""
        keys = await self._known()
        now = int(time.time())
        try:
            return verify(token, keys, self._rules, now)
        except UnknownKey:
            await self._ask()
            return verify(token, self._keys or keys, self._rules, now)

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
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, AttributeError) as error:
                logger.warning("the keys of the issuer cannot be read", issuer=self._rules.issuer, error=repr(error))

    async def _fetch(self) -> Any:
        limit = aiohttp.ClientTimeout(total=ASK_SECONDS)
        async with aiohttp.ClientSession(timeout=limit, connector=aiohttp.TCPConnector(ssl=self._ssl)) as session:
            uri = self._jwks_uri
            if uri is None:
                found = await _json(session, f"{self._rules.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found["issuer"] != self._rules.issuer:
                    raise ValueError(f"it says that it is {found['issuer']!r:.200}")
                uri = str(found["jwks_uri"])
            return await _json(session, uri)


async def _json(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:  # noqa: PLR2004 - HTTP's own
            raise ValueError(f"{url} answers {answer.status}")
        body = await answer.content.read(MAX_BYTES + 1)
        while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES)):
            body += more
        if len(body) > MAX_BYTES:
            raise ValueError(f"{url} answers more than {MAX_BYTES} bytes")
        return json.loads(body)


def _trust(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"settings: BATCHJOB_OIDC_CA_FILE: {ca_file} cannot be used: {error}") from error
