"""Where a store is, from its URL."""

from typing import Any, cast

import pytest

from batchjob.store.servers import Cluster, One, Servers, Watched, find_servers, slot_of
from batchjob.store.wire import Endpoint


async def of(servers: Servers) -> Endpoint:
    return await servers.of(("GET", "key"), cast("Any", None))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://store", ("store", 6379, 0, None, ())),
        ("redis://store:7000/3", ("store", 7000, 3, None, ())),
        ("redis://[::1]:7000/", ("::1", 7000, 0, None, ())),
        ("redis://me:a%40b@store/0", ("store", 6379, 0, None, ("me", "a@b"))),
        ("unix:///run/store.sock", ("/run/store.sock", None, 0, None, ())),
        ("redis://:secret@store", ("store", 6379, 0, None, ("secret",))),
    ],
)
async def test_a_url_names_host_port_database_and_login(url: str, expected: tuple[object, ...]) -> None:
    assert tuple(await of(find_servers(url))) == expected


async def test_rediss_is_tls_with_a_certificate_that_is_checked() -> None:
    tls = (await of(find_servers("rediss://store:6380"))).tls
    assert tls is not None
    assert tls.check_hostname


@pytest.mark.parametrize(
    "ca", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_certificates_that_are_none_are_refused(ca: str) -> None:
    with pytest.raises(ValueError, match=r"^the certificates to trust for it are no PEM: "):
        find_servers("rediss://store", ca)


def test_a_url_says_whether_it_is_one_server_a_cluster_or_behind_sentinels() -> None:
    assert isinstance(find_servers("redis://a"), One)
    assert isinstance(find_servers("redis+cluster://a:7000"), Cluster)
    assert isinstance(find_servers("rediss+sentinel://a,b:26380/store/2"), Watched)


@pytest.mark.parametrize(
    "url",
    [
        "store:6379", "http://store", "redis://", "redis://store:port", "redis://store/x", "redis://store?db=1",
        "redis://one,two", "redis+ring://one", "redis+cluster://one/2/3", "redis+sentinel://one:26379",
        "redis+sentinel://one/store/0/1",
    ],
)  # fmt: skip
def test_a_url_that_says_something_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        find_servers(url)


@pytest.mark.parametrize(
    ("command", "slot"),
    [
        (("GET", "123456789"), 12739),  # the example of the cluster's specification
        (("HGET", "{123456789}:meta", "state"), 12739),
        (("EVALSHA", "sha", 2, b"{123456789}:meta", b"{123456789}:data"), 12739),
        (("XREAD", "COUNT", 9, "BLOCK", 5, "STREAMS", "{123456789}:events", "0"), 12739),
    ],
)
def test_a_command_belongs_to_the_slot_of_its_first_key(command: tuple[Any, ...], slot: int) -> None:
    assert slot_of(command) == slot
