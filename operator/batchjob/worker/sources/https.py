"""A file on the web: HTTPS only, also after redirects, and never at a link-local address.

The name is resolved here and the connection goes to the address that was checked, so that a name cannot turn into the
metadata service between check and use. The certificate is still checked against the name.
"""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx2

from batchjob.api.source import Location
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.files.addresses import refusal, resolve
from batchjob.files.unreached import TRUST_THE_BUNDLE, explain_unreached, is_final
from batchjob.files.urls import masked
from batchjob.worker.sources.limits import BLOCK_BYTES, SILENCE_SECONDS, check_time

REDIRECTS: Final = 5
TIMEOUT: Final = httpx2.Timeout(SILENCE_SECONDS)
HTTPS_PORT: Final = 443
MEANINGS: Final = {
    206: "a part of the file, though the whole was asked for: check the server",
    401: "a login is asked for, and https:// has none to give: sign the URL, or use a bucket and credentialsSecretRef",
    403: "reading it is not allowed",
    404: "it does not exist: check the URL",
}


class HttpsReader:
    """A file by https:// URL."""

    def __init__(self, place: Location, authority: Path, field: str) -> None:
        """`field`: how the spec calls the place; `authority`: the folder where its CA is mounted."""
        self.name = masked(place.url)
        self._url = place.url
        self.etag: str | None = None
        self._tls = ssl.create_default_context()
        if place.ca_bundle_ref:
            try:
                self._tls.load_verify_locations(authority / place.ca_bundle_ref.key)
            except OSError as error:  # of which ssl's errors are some
                raise InvalidSource(f"{field}.caBundleRef holds no PEM certificates: {error}") from None

    async def blocks(self) -> AsyncIterator[bytes]:
        """The body, as it comes. Errors: InvalidSource for a place that is not allowed; SourceUnreachable."""
        client = httpx2.AsyncClient(
            transport=CheckedTransport(verify=self._tls, trust_env=False),
            timeout=TIMEOUT,
            follow_redirects=True,
            max_redirects=REDIRECTS,
            headers={"Accept-Encoding": "identity"},
        )
        try:
            async with client, client.stream("GET", self._url) as response:
                if response.status_code != httpx2.codes.OK:
                    meaning = MEANINGS.get(response.status_code, response.reason_phrase)
                    said = f"{self.name} answered {response.status_code}: {meaning}"
                    raise SourceUnreachable(said, lasts=is_final(response.status_code))
                self.etag = response.headers.get("etag")
                if (packed := response.headers.get("content-encoding", "identity")) != "identity":
                    raise InvalidSource(f"it is sent compressed ({packed}), though that was not asked for")
                async for block in gathered(response.aiter_raw(), self.name):
                    yield block
        except httpx2.InvalidURL as error:
            raise InvalidSource(f"it is no URL: {error}") from None
        except httpx2.TooManyRedirects:
            raise InvalidSource(f"it leads through more than {REDIRECTS} redirects") from None
        except httpx2.HTTPError as error:
            why, lasts = explain_unreached(error, TRUST_THE_BUNDLE)
            raise SourceUnreachable(f"{self.name} cannot be reached: {why}", lasts=lasts) from None


async def gathered(pieces: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    """Blocks of BLOCK_BYTES. However small the pieces are that come, the time is looked at with each."""
    block, began = bytearray(), time.monotonic()
    async for piece in pieces:
        check_time(name, time.monotonic() - began)
        block += piece
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


class CheckedTransport(httpx2.AsyncHTTPTransport):
    """Sends each request, those after redirects too, to an address that was checked."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Check scheme and addresses, then connect to the first."""
        url = request.url
        if not url.host:
            raise InvalidSource("it has no host: write https://host/path")
        if url.scheme != "https":
            raise InvalidSource(f"it leads to {masked(str(url))}, and only https:// is read")
        try:
            addresses = await resolve(url.host, url.port or HTTPS_PORT)
        except OSError as error:
            raise httpx2.ConnectError(f"{url.host} has no address: {error.strerror}") from None
        except UnicodeError:
            raise InvalidSource(f"{url.host} is no host name") from None
        if sentence := refusal(url.host, addresses):
            raise InvalidSource(sentence)
        checked = httpx2.Request(
            request.method,
            url.copy_with(host=addresses[0]),
            headers=request.headers,  # Host is among them already
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        return await super().handle_async_request(checked)
