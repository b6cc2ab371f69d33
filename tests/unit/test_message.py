"""Building mails: what is in one, and what never gets into one."""

import datetime as dt
import re
from email import message_from_bytes
from email.policy import default
from email.utils import getaddresses

import pytest

from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.attachments import mime_type_of
from batchjob_processors.message import Body, as_bytes, build_message, check_sender, message_id, needs_utf8

NOW = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)
HEADERS = {"From": "Shop <shop@example.com>", "To": "Jörg <joerg@example.org>", "Subject": "Grüße"}
TEXT = Body("text")


def test_a_mail_has_its_headers_its_date_and_its_text() -> None:
    raw = as_bytes(build_message(HEADERS, Body("Liebe Grüße\n"), NOW))
    message = message_from_bytes(raw, policy=default)
    assert message["To"].addresses[0].addr_spec == "joerg@example.org"
    assert message["Subject"] == "Grüße"
    assert message["Date"].datetime == NOW
    assert message.get_content().replace("\r\n", "\n") == "Liebe Grüße\n"
    assert raw.isascii(), "any server can take it"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "text/csv"),
        ("a.csv.gz", "application/gzip"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a.csv.bz2", "application/octet-stream"),
        ("a.eml", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_a_file_is_labelled_by_its_ending_and_a_packed_one_by_its_packing(name: str, kind: str) -> None:
    assert mime_type_of(name) == kind


def test_a_mail_with_html_has_both_the_text_first() -> None:
    message = build_message(HEADERS, Body("Grüße\n", "<p>Grüße</p>\n"), NOW)
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize("field", ["From", "To", "Subject", "X-Campaign", "List-Unsubscribe"])
def test_a_line_break_in_a_header_is_refused(field: str) -> None:
    names = {"X-Campaign": "headers", "List-Unsubscribe": "listUnsubscribe"}
    named = names.get(field, field.lower())
    with pytest.raises(Fail, match=rf"{field} \(spec.email.{named}\) holds a line break"):
        build_message(HEADERS | {field: "a@example.com\r\nBcc: everybody@example.com"}, TEXT, NOW)


@pytest.mark.parametrize("header", ["Subject", "To", "X-Campaign"])
@pytest.mark.parametrize(
    "words",
    [
        "=?utf-8?q?Hi=0D=0ABcc:_everybody@example.com?=",
        "Grüße =?utf-8?q?Hi=0D=0ABcc:_everybody@example.com?=",
        "everybody@example.com, " + "word " * 50 + ", foo",
        "\v\f\x85\u2028" + "é" * 200 + ", everybody@example.com",
        "ab\\\\é" + "=?utf-8?q?x=2Cy?=" * 3 + "x" * 200 + ",<(é(]=]] ));>>_:@].%,=:>",
    ],
)
def test_words_of_an_item_make_no_header_and_no_recipient_however_they_are_written(header: str, words: str) -> None:
    value = f'"{words}" <ada@example.org>' if header == "To" else words
    raw = as_bytes(build_message(HEADERS | {header: value}, TEXT, NOW))
    head = raw.partition(b"\r\n\r\n")[0].decode("ascii")
    names = [line.partition(":")[0] for line in head.split("\r\n") if not line.startswith(" ")]
    assert set(names) <= {*HEADERS, header, "Date", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
    to = re.search(r"^To: (.*(?:\r\n .*)*)", head, re.MULTILINE)
    assert to
    assert len(getaddresses([to[1].replace("\r\n", "")])) == 1


def test_words_that_look_encoded_arrive_as_they_are() -> None:
    raw = as_bytes(build_message(HEADERS | {"Subject": "is =?utf-8?q?x?= é"}, TEXT, NOW))
    assert message_from_bytes(raw, policy=default)["Subject"] == "is =?utf-8?q?x?= é"


@pytest.mark.parametrize(
    "to",
    [
        *("", "nobody", "@example.com", "a b@example.com", "a@b..example", "a@b.example, c@d.example"),
        *("Shop, Inc <a@b.example>", "a" * 65 + "@b.example", "a@[127.0.0.1]", "a@-b.example"),
    ],
)
def test_an_address_that_is_none_is_refused(to: str) -> None:
    with pytest.raises(Fail, match=r"To \(spec.email.to\) is not an address"):
        build_message(HEADERS | {"To": to or " "}, TEXT, NOW)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Ada@EXAMPLE.com", "Ada@example.com"),
        ("Ada <ada@exämple.org>", "ada@xn--exmple-cua.org"),
        ('"Lovelace, Ada" <ada@example.org>', "ada@example.org"),
        ("ada@mail.local", "ada@mail.local"),
    ],
)
def test_an_address_is_made_one_that_any_server_takes(written: str, normal: str) -> None:
    message = build_message(HEADERS | {"To": written}, TEXT, NOW)
    assert message["To"].addresses[0].addr_spec == normal
    assert not needs_utf8(message)


def test_only_a_name_that_is_not_ascii_needs_a_server_with_smtputf8() -> None:
    message = build_message(HEADERS | {"To": "jörg@exämple.org"}, TEXT, NOW)
    assert needs_utf8(message)
    assert "jörg@xn--exmple-cua.org".encode() in as_bytes(message)


@pytest.mark.parametrize("sender", ["nobody", "a b@example.com", "a@example.com\r\nBcc: b@example.com"])
def test_a_sender_that_no_mail_could_have_stops_the_run_and_names_its_field(sender: str) -> None:
    check_sender("Shop <shop@example.com>", "answers@example.com")
    with pytest.raises(ConfigurationError, match=r"From \(spec.email.from\) .*: write user@host"):
        check_sender(sender, None)
    with pytest.raises(ConfigurationError, match=r"Reply-To \(spec.email.replyTo\) .*: write user@host"):
        check_sender("shop@example.com", sender)


def test_the_message_id_is_the_same_for_every_attempt() -> None:
    assert message_id("u-1", 7, HEADERS["From"]) == "<u-1.7@example.com>"


def test_a_long_url_in_a_header_is_neither_folded_nor_encoded() -> None:
    url = f"<https://example.com/off?{'x' * 300}>"
    raw = as_bytes(build_message(HEADERS | {"List-Unsubscribe": url, "X-Data": url}, TEXT, NOW))
    assert f"\r\nList-Unsubscribe: {url}\r\n".encode() in raw
    assert f"\r\nX-Data: {url}\r\n".encode() in raw


def test_a_header_is_left_out_where_it_is_empty_and_refused_where_no_line_could_hold_it() -> None:
    assert "X-Data" not in build_message(HEADERS | {"X-Data": ""}, TEXT, NOW)
    with pytest.raises(Fail, match=r"X-Data \(spec.email.headers\) has 998 characters"):
        build_message(HEADERS | {"X-Data": "x" * 998}, TEXT, NOW)


def test_no_line_of_a_mail_is_longer_than_mail_allows_and_none_holds_a_nul() -> None:
    raw = as_bytes(build_message(HEADERS, Body("a\0b" + "x" * 5000, "ü" * 5000), NOW))
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\0" not in raw
