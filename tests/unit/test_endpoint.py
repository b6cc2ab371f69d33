"""Where a store is, from its URL."""

import pytest

from batchjob.store.wire import Endpoint


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://store", ("store", 6379, 0, None, ())),
        ("redis://store:7000/3", ("store", 7000, 3, None, ())),
        ("redis://[::1]:7000/", ("::1", 7000, 0, None, ())),
        ("redis://me:a%40b@store/0", ("store", 6379, 0, None, ("me", "a@b"))),
        ("redis://:secret@store", ("store", 6379, 0, None, ("secret",))),
    ],
)
def test_a_url_names_host_port_database_and_login(url: str, expected: tuple[object, ...]) -> None:
    assert tuple(Endpoint.parse(url)) == expected


def test_rediss_is_tls_with_a_certificate_that_is_checked() -> None:
    tls = Endpoint.parse("rediss://store:6380").tls
    assert tls is not None
    assert tls.check_hostname


@pytest.mark.parametrize(
    "url", ["store:6379", "http://store", "redis://", "redis://store:port", "redis://store/x", "redis://store?db=1"]
)
def test_a_url_that_says_something_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Endpoint.parse(url)
