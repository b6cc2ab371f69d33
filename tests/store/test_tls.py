"""The store behind TLS: whose certificate is trusted, and what is said where it is not."""

from pathlib import Path

import pytest

from batchjob.api.run import StoreAccess
from batchjob.errors import StoreUnavailable
from batchjob.store import Store
from tests.support.neighbours.neighbours.certificates import tls_context
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer


class Secure:
    """A server that takes TLS too, with a certificate for a name, from an authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        tls_context(folder / "tls", [name])
        self.authority = folder / "tls" / "ca.crt"
        port, pair = free_port(), folder / "tls" / "server.pem"
        self.url = f"rediss://127.0.0.1:{port}/0"
        own = ("--tls-port", str(port), "--tls-cert-file", str(pair), "--tls-key-file", str(pair))
        trust = ("--tls-ca-cert-file", str(self.authority), "--tls-auth-clients", "no")
        self.server = RedisServer(folder, *own, *trust)

    async def ask(self, ca: str | None = None) -> list[str]:
        """The runs that are there, as asked over TLS."""
        self.server.start()
        try:
            async with Store.connect(StoreAccess(url=self.url, ca=ca), name="test") as store:
                await store.load_scripts()
                return list(await store.runs())
        finally:
            self.server.kill()


async def test_a_store_whose_authority_is_trusted_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secure = Secure(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.authority))
    assert await secure.ask() == []


async def test_a_store_of_an_authority_of_ones_own_is_used(tmp_path: Path) -> None:
    secure = Secure(tmp_path, "127.0.0.1")
    assert await secure.ask(secure.authority.read_text()) == []


async def test_a_store_of_an_unknown_authority_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"^the store's certificate is not trusted: self.signed certificate in"):
        await Secure(tmp_path, "127.0.0.1").ask()


async def test_a_certificate_for_another_host_is_refused_with_both_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = Secure(tmp_path, "10.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.authority))
    refused = r"^the store's certificate is not trusted: IP address mismatch, .* not valid for '127\.0\.0\.1'"
    with pytest.raises(StoreUnavailable, match=refused):
        await secure.ask()
