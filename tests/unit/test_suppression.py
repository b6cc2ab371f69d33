"""Lists of addresses that get no mail."""

import tracemalloc

import pytest

from batchjob.worker import ConfigurationError
from batchjob_processors.suppression import Suppressed


def test_an_address_is_found_whatever_its_case_and_form() -> None:
    body = "\ufeffAda@Example.com\r\n\n# left in spring: gone@example.com\nEmil <emil@exämple.org>\n  x@y.example \n"
    found = Suppressed(body.encode(), None, "f")
    assert len(found) == 3
    assert all(
        plain in found for plain in ("ada@example.com", "ADA@example.com", "emil@xn--exmple-cua.org", "x@y.example")
    )
    assert "gone@example.com" not in found
    assert "ADA@XN--EXMPLE-CUA.org" in Suppressed("ada@EXÄMPLE.org\n".encode(), None, "f")
    assert "da@example.com" not in found


def test_a_csv_names_the_column() -> None:
    body = b'name,email\n"Lovelace, Ada",ada@example.com\nnobody,\n'
    assert "ada@example.com" in Suppressed(body, "email", "f")
    with pytest.raises(ConfigurationError, match=r"f has no column 'mail' \(.*column\); it has: name, email"):
        Suppressed(body, "mail", "f")


@pytest.mark.parametrize(
    ("body", "column", "said"),
    [
        (b"a@b.example\nnobody\n", None, "f, line 2 is no address: correct it"),
        (b"email\na@b.example\nnobody\n", "email", "f, line 3 is no address"),
        (b"\xff\xfea", None, "f is not written in UTF-8"),
        (b"email\n" + b"a" * 2_000_000, "email", "f is no CSV: field larger than field limit"),
    ],
)
def test_a_list_that_cannot_be_read_stops_the_run_for_somebody_on_it_would_get_mail(
    body: bytes, column: str | None, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Suppressed(body, column, "f")


def test_a_large_list_takes_little_more_than_itself() -> None:
    body = b"".join(b"person%09d@example.com\n" % number for number in range(20_000))
    tracemalloc.start()
    try:
        found = Suppressed(body, None, "f")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(found), "person000019999@example.com" in found, "person000020000@example.com" in found) == (
        20_000,
        True,
        False,
    )
    assert most < 1.5 * len(body)
