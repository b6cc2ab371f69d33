"""What a mail says to one recipient: language, body, headers."""

from typing import Any

import pytest

from batchjob.api.blocks.email import Email
from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.wording import Writer

BASE = {"smtp": {"host": "mail"}, "from": "a@example.com", "subject": "Hello {{ name }}"}
ITEM = {"email": "ada@example.com", "name": "<Ada>"}
GERMAN = {"locale": "de", "subject": "Hallo {{ name }}", "text": "Liebe {{ name }}"}


def writer(**block: Any) -> Writer:
    return Writer(Email.model_validate(BASE | ({} if "html" in block else {"text": "Dear {{ name }}"}) | block))


def test_the_plain_text_is_made_of_the_html_where_there_is_none() -> None:
    body = writer(html="<p>Dear <b>{{ name }}</b></p>").write(ITEM).body
    assert (body.text, body.html) == ("Dear <Ada>\n", "<p>Dear <b>&lt;Ada&gt;</b></p>")
    both = writer(html="<p>x</p>", text="own").write(ITEM).body
    assert (both.text, both.html) == ("own", "<p>x</p>")


def test_html_may_be_mjml_with_templates_in_it() -> None:
    column = "<mj-section><mj-column><mj-text>Dear {{ name }}</mj-text></mj-column></mj-section>"
    body = writer(html=f"<mjml><mj-body>{column}</mj-body></mjml>").write(ITEM).body
    assert "<!doctype html>" in (body.html or "")
    assert "Dear &lt;Ada&gt;" in (body.html or "")
    assert body.text == "Dear <Ada>\n"


def test_mjml_that_is_none_stops_the_run_and_reads_no_file() -> None:
    with pytest.raises(ConfigurationError, match=r"spec.email.html begins with <mjml> and is no MJML: unexpected el"):
        writer(html="<mjml><mj-bdy></mj-bdy></mjml>")
    with pytest.raises(ConfigurationError, match="unable to load included template"):
        writer(html="<mjml><mj-body><mj-include path='/etc/hostname' type='html' /></mj-body></mjml>")


@pytest.mark.parametrize("tag", ["mj-hero", "b", "B", "mj-wrapper css-class='<!--'"])
def test_mjml_that_is_nested_too_deeply_stops_the_run(tag: str) -> None:
    name = tag.split(maxsplit=1)[0]
    with pytest.raises(ConfigurationError, match=r"spec.email.html is MJML with more than 200 elements in each other"):
        writer(html=f"<mjml><mj-body><!-- </b> -->{f'<{tag}>' * 200}{f'</{name}>' * 200}</mj-body></mjml>")


def test_long_mjml_is_not_nested() -> None:
    text = "<mj-section><mj-column><mj-text>a<br>b<br/><p title='>'>{{ name }}</p></mj-text></mj-column></mj-section>"
    body = writer(html=f"<mjml><mj-body>{text * 250}</mj-body></mjml>").write(ITEM).body
    assert (body.html or "").count("&lt;Ada&gt;") == 250


@pytest.mark.parametrize(
    ("asked", "language", "subject"),
    [
        ("de", "de", "Hallo <Ada>"),
        ("de_AT", "de", "Hallo <Ada>"),
        ("DE-de-1996", "de", "Hallo <Ada>"),
        ("fr-CA", "fr-CA", "Hello <Ada>"),
        ("fr", "", "Hello <Ada>"),
        ("", "", "Hello <Ada>"),
    ],
)
def test_the_mail_is_in_the_nearest_language_there_is(asked: str, language: str, subject: str) -> None:
    french = {"locale": "fr-CA", "html": "<p>Cher {{ name }}</p>"}
    found = writer(locale="{{ locale }}", translations=[GERMAN, french]).write(ITEM | {"locale": asked})
    assert (found.body.language, found.headers["Subject"]) == (language, subject)
    texts = {"de": "Liebe <Ada>", "fr-CA": "Cher <Ada>\n", "": "Dear <Ada>"}
    assert found.body.text == texts[language]
    assert (found.body.html is None) == (language != "fr-CA"), "html goes with its own text"


def test_a_language_without_translations_is_told_to_the_reader() -> None:
    assert writer(locale="{{ locale }}").write(ITEM | {"locale": "pt_BR"}).body.language == "pt-BR"
    with pytest.raises(Fail, match=r"spec.email.locale is no language such as de or de-AT: 'x\\ny'"):
        writer(locale="{{ locale }}").write(ITEM | {"locale": "x\ny"})


def test_an_error_in_a_translation_names_its_field() -> None:
    with pytest.raises(ConfigurationError, match=r"spec.email.translations\[0\].subject is not a template: line 1"):
        writer(locale="de", translations=[GERMAN | {"subject": "{{"}])
    with pytest.raises(Fail, match=r"spec.email.translations\[0\].text, line 1, column 4: .*`nme` is undefined"):
        writer(locale="de", translations=[GERMAN | {"text": "{{ nme }}"}]).write(ITEM)


def test_headers_of_ones_own_and_the_unsubscribe_button_are_templates() -> None:
    block = {
        "headers": [{"name": "X-Customer", "value": " {{ name }} "}],
        "listUnsubscribe": {
            "url": "https://example.com/off?who={{ email | urlencode }}",
            "mailto": "off@example.com?subject=off",
            "oneClick": True,
        },
    }
    headers = writer(**block).write(ITEM).headers
    assert headers["X-Customer"] == "<Ada>"
    listed = "<https://example.com/off?who=ada%40example.com>, <mailto:off@example.com?subject=off>"
    assert headers["List-Unsubscribe"] == listed
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize("name", ["a b", "a>, <https://evil.example", "é", "a\r\nBcc: b@example.com"])
def test_an_item_cannot_break_out_of_the_unsubscribe_url(name: str) -> None:
    with pytest.raises(Fail, match=r"spec.email.listUnsubscribe.url holds what no URL may: .*urlencode"):
        writer(listUnsubscribe={"url": "https://example.com/{{ name }}"}).write({"email": "a@b.example", "name": name})
    with pytest.raises(Fail, match=r"spec.email.listUnsubscribe.url does not begin with https://"):
        writer(listUnsubscribe={"url": "{{ name }}"}).write({"email": "a@b.example", "name": "javascript:x"})


def test_a_subject_may_be_written_as_a_block_of_yaml_whose_last_line_ends() -> None:
    assert writer(subject="Hello {{ name }}\n").write(ITEM).headers["Subject"] == "Hello <Ada>"
