"""Building mails, and users' templates."""

import datetime as dt

import pytest

from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.message import build_message, check_sender, message_id
from batchjob_processors.templates import Templates

NOW = dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC)
HEADERS = {"From": "Shop <shop@example.com>", "To": "Jörg <joerg@example.org>", "Subject": "Grüße"}


def test_a_mail_has_its_headers_its_date_and_its_text() -> None:
    message = build_message(HEADERS, "Liebe Grüße\n", NOW)
    assert message["To"].addresses[0].addr_spec == "joerg@example.org"
    assert message["Subject"] == "Grüße"
    assert message["Date"].datetime == NOW
    assert message.get_content() == "Liebe Grüße\r\n" or message.get_content() == "Liebe Grüße\n"
    assert b"=?utf-8?" in bytes(message)


@pytest.mark.parametrize("field", ["From", "To", "Subject"])
def test_a_line_break_in_a_header_is_refused(field: str) -> None:
    with pytest.raises(Fail, match=rf"{field} \(spec.email.{field.lower()}\) holds a line break"):
        build_message(HEADERS | {field: "a@example.com\r\nBcc: everybody@example.com"}, "text", NOW)


@pytest.mark.parametrize("to", ["", "nobody", "@example.com", "a b@example.com"])
def test_an_address_that_is_none_is_refused(to: str) -> None:
    with pytest.raises(Fail, match=r"To \(spec.email.to\) is not"):
        build_message(HEADERS | {"To": to}, "text", NOW)


@pytest.mark.parametrize("sender", ["nobody", "a b@example.com", "a@example.com\r\nBcc: b@example.com"])
def test_a_sender_that_no_mail_could_have_stops_the_run_and_names_its_field(sender: str) -> None:
    check_sender("Shop <shop@example.com>", "answers@example.com")
    with pytest.raises(ConfigurationError, match=r"From \(spec.email.from\) .*: write user@host"):
        check_sender(sender, None)
    with pytest.raises(ConfigurationError, match=r"Reply-To \(spec.email.replyTo\) .*: write user@host"):
        check_sender("shop@example.com", sender)


def test_the_message_id_is_the_same_for_every_attempt() -> None:
    assert message_id("u-1", 7, HEADERS["From"]) == "<u-1.7@example.com>"


def test_a_template_inserts_the_items_fields() -> None:
    assert Templates("spec.email", text="Dear {{ name }},\n").render("text", {"name": "A & B"}) == "Dear A & B,\n"


def test_a_template_that_is_none_stops_the_run_and_names_its_field() -> None:
    with pytest.raises(ConfigurationError, match=r"spec.email.subject is not a template"):
        Templates("spec.email", subject="{{ name")


def test_a_field_that_the_item_lacks_fails_the_item() -> None:
    with pytest.raises(Fail, match=r"spec.email.to: .*`mail` is undefined.*; the item has: email, name$"):
        Templates("spec.email", to="{{ mail }}").render("to", {"email": "a@example.com", "name": "A"})


def test_an_endless_template_is_stopped_by_its_fuel() -> None:
    templates = Templates(
        "spec.email", text="{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"
    )
    with pytest.raises(Fail, match="fuel"):
        templates.render("text", {})
