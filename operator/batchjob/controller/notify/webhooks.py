"""The door to webhooks: one POST, signed as Standard Webhooks says, and what its answer means.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

Nothing of an answer is read but its status: what else the operator may see there is not for whoever reads a
BatchJob's status. Redirects are not followed, since they lead where nobody has looked. The connection goes to an
address that `destinations` has checked, and is not kept: the next one is checked again.
"""

import asyncio
import base64
import binascii
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook as Signer
from yarl import URL

from batchjob.api.notifications import DeliveryState
from batchjob.controller.notify.destinations import Destinations
from batchjob.controller.notify.notices import Outcome
from batchjob.errors import ConfigurationError

SECONDS: Final = 20.0  # for all of an attempt; the specification asks for 15 to 30
REDIRECTS: Final = range(300, 400)
GONE: Final = 410
SECRET_BYTES: Final = range(24, 65)  # as the specification has it
MOST_SECRETS: Final = 4
_PREFIX: Final = "whsec_"


async def post(
    destinations: Destinations, url: str, headers: dict[str, str], body: str, context: ssl.SSLContext
) -> Outcome:
    """One attempt. ConfigurationError where the URL is none, or its host may not be called."""
    where = _parse(url)
    host, port = str(where.raw_host), where.port or 0
    at = f"{host}:{port}"
    try:
        async with asyncio.timeout(SECONDS):
            found = await destinations.find(host, port, secure=where.scheme == "https")
            connector = aiohttp.TCPConnector(resolver=_Found(found), ssl=context, use_dns_cache=False)
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(where, data=body.encode(), headers=headers, allow_redirects=False) as answer,
            ):
                return judge(answer.status)
    except TimeoutError:
        why = f"{at} did not answer within {SECONDS:.0f} s"
    except aiohttp.ClientConnectorCertificateError as error:
        said = getattr(error.certificate_error, "verify_message", "") or "it is not trusted"
        why = f"the certificate of {at}: {said}; name its authority in caBundleRef"
    except aiohttp.ServerDisconnectedError:
        why = f"{at} closed the connection without an answer"
    except OSError as error:
        why = f"{at} cannot be reached: {error.strerror or type(error).__name__}"
    except (aiohttp.ClientError, ValueError) as error:  # ValueError: what is no HTTP
        why = f"{at} did not answer as a web server does ({type(error).__name__})"
    return Outcome(DeliveryState.PENDING, why)


def judge(status: int) -> Outcome:
    """What an answer means: 2xx is success, 410 an end, all else is tried again."""
    if status // 100 == 2:  # noqa: PLR2004 - of HTTP
        return Outcome(DeliveryState.DELIVERED, f"HTTP {status}")
    if status == GONE:
        return Outcome(DeliveryState.GONE, f"HTTP {status}: the receiver wants to hear no more")
    if status in REDIRECTS:
        return Outcome(DeliveryState.PENDING, f"HTTP {status}: redirects are not followed, name the URL they lead to")
    return Outcome(DeliveryState.PENDING, f"HTTP {status}")


def build_headers(secrets: str, notice_id: str, now: datetime, body: str) -> dict[str, str]:
    """The headers of one attempt; `secrets` as they stand in the Secret. ConfigurationError, without the secret."""
    now = now.astimezone(UTC)  # the library takes any other zone's clock for UTC
    signatures = [signer.sign(notice_id, now, body) for signer in _signers(secrets)]
    return {
        "content-type": "application/json",
        "user-agent": "BatchJob",
        "webhook-id": notice_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _signers(secrets: str) -> list[Signer]:
    words = secrets.split()
    if not 1 <= len(words) <= MOST_SECRETS:
        raise ConfigurationError(f"it has {len(words)} secrets, and needs 1 to {MOST_SECRETS}, one a line")
    for word in words:
        try:
            size = len(base64.b64decode(word.removeprefix(_PREFIX), validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if not word.startswith(_PREFIX) or size not in SECRET_BYTES:
            raise ConfigurationError(
                f"it holds no secret of Standard Webhooks: {_PREFIX} and {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes "
                "in base64. Make one: echo whsec_$(openssl rand -base64 32)"
            )
    return [Signer(word) for word in words]


def _parse(url: str) -> URL:
    try:
        parsed = URL(url)
        if parsed.scheme in {"http", "https"} and parsed.raw_host and parsed.port:
            return parsed.with_fragment(None)
    except ValueError:
        pass
    raise ConfigurationError("it is no URL such as https://example.com/hooks/batch")


class _Found(AbstractResolver):
    """Says what was found before."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = [(text, socket.AF_INET6 if ":" in text else socket.AF_INET) for text in self._addresses]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for address, kind in found
            if family in {kind, socket.AF_UNSPEC}
        ]

    async def close(self) -> None:
        """Nothing is open."""
