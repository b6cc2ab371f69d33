"""What a mail says to one recipient: the templates of `spec.email`, in the recipient's language. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from batchjob.api.blocks.email import Email, Translation
from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.message import Body
from batchjob_processors.plain_text import EMPTY, plain_text
from batchjob_processors.templates import Templates

_LOCALE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")  # a language tag (RFC 5646), roughly
DEEPEST: Final = 200  # elements of MJML in each other: its renderer ends the process at some thousands
_TAG: Final = re.compile(r"""<!--.*?(?:-->|\Z)|<(/?)([A-Za-z][^\s/<>]*)(?:"[^"]*"|'[^']*'|[^"'<>])*?(/?)>""", re.DOTALL)
_URI: Final = re.compile(r"[!#-;=?-~]+")  # what may stand between < and >


class Wording(NamedTuple):
    """What was made of the templates for one item."""

    to: str
    headers: dict[str, str]  # those that the item has a say in
    body: Body


class Writer:
    """Renders a block of type email."""

    def __init__(self, block: Email) -> None:
        """Compile every template; ConfigurationError for one that is none."""
        self._block = block
        self._languages = {found.locale.lower(): n for n, found in enumerate(block.translations or ())}
        self._templates = Templates("spec.email", **dict(_sources(block)))

    def recipient(self, data: dict[str, Any]) -> str:
        """Who gets the mail, as the item says it; raises Fail."""
        return self._templates.render("to", data).strip()

    def write(self, data: dict[str, Any]) -> Wording:
        """The mail for one item; raises Fail where a template does not go with it."""
        language, number = self._choose(data)
        headers = {"Subject": self._templates.render(self._field("subject", number), data).strip()}
        for place, header in enumerate(self._block.headers or ()):
            headers[header.name] = self._templates.render(f"headers[{place}].value", data).strip()
        body = self._body(data, number)._replace(language=language)
        return Wording(self.recipient(data), headers | self._unsubscribe(data), body)

    def _body(self, data: dict[str, Any], number: int | None) -> Body:
        own = number is not None and self._of(number, "text", "html")
        fields = {kind: self._field(kind, number if own else None) for kind in ("text", "html")}
        text, html = (
            self._templates.render(field, data) if field in self._templates else None for field in fields.values()
        )
        return Body(plain_text(html or "") if text is None else text, html)

    def _choose(self, data: dict[str, Any]) -> tuple[str, int | None]:
        """The language of the mail, "" where nobody knows it, and the translation, if it is one."""
        if self._block.locale is None:
            return "", None
        asked = self._templates.render("locale", data).strip().replace("_", "-")
        if asked and not _LOCALE.fullmatch(asked):
            raise Fail(f"spec.email.locale is no language such as de or de-AT: {asked!r:.40}")
        if not self._block.translations:
            return asked, None
        tag = asked.lower()
        while tag:
            if (number := self._languages.get(tag)) is not None:
                return self._block.translations[number].locale, number
            tag = tag.rpartition("-")[0]
        return "", None

    def _of(self, number: int, *kinds: str) -> bool:
        return any(f"translations[{number}].{kind}" in self._templates for kind in kinds)

    def _field(self, kind: str, number: int | None) -> str:
        """The field whose template holds: the translation's, else the block's."""
        own = f"translations[{number}].{kind}"
        return own if number is not None and (kind != "subject" or self._of(number, kind)) else kind

    def _unsubscribe(self, data: dict[str, Any]) -> dict[str, str]:
        block = self._block.list_unsubscribe
        if block is None:
            return {}
        found = {}
        if block.url:
            found["url"] = self._uri("url", data)
            if not found["url"].startswith("https://"):
                raise Fail(f"spec.email.listUnsubscribe.url does not begin with https://: {found['url']!r:.80}")
        if block.mailto:
            found["mailto"] = f"mailto:{self._uri('mailto', data).removeprefix('mailto:')}"
        headers = {"List-Unsubscribe": ", ".join(f"<{uri}>" for uri in found.values())}
        return headers | ({"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if block.one_click else {})

    def _uri(self, name: str, data: dict[str, Any]) -> str:
        field = f"listUnsubscribe.{name}"
        found = self._templates.render(field, data).strip()
        if not _URI.fullmatch(found):
            said = "holds what no URL may: insert what the item says by {{ … | urlencode }}"
            raise Fail(f"spec.email.{field} {said}: {found!r:.80}")
        return found


def _sources(block: Email) -> Iterator[tuple[str, str]]:
    """Every template by its field."""
    yield "to", block.to
    yield "subject", block.subject
    if block.locale is not None:
        yield "locale", block.locale
    yield from _bodies("", block)
    for n, translation in enumerate(block.translations or ()):
        if translation.subject is not None:
            yield f"translations[{n}].subject", translation.subject
        yield from _bodies(f"translations[{n}].", translation)
    for n, header in enumerate(block.headers or ()):
        yield f"headers[{n}].value", header.value
    for name in ("url", "mailto"):
        if source := getattr(block.list_unsubscribe, name, None):
            yield f"listUnsubscribe.{name}", source


def _bodies(field: str, words: Email | Translation) -> Iterator[tuple[str, str]]:
    if words.text is not None:
        yield f"{field}text", words.text
    if words.html is not None:
        yield f"{field}html", _html(f"{field}html", words.html)


def _html(field: str, source: str) -> str:
    """The HTML, made here where it is MJML."""
    if not source.lstrip().startswith("<mjml"):
        return source
    if _depth(source) > DEEPEST:
        raise ConfigurationError(
            f"spec.email.{field} is MJML with more than {DEEPEST} elements in each other: close each one, or nest fewer"
        )
    from mjml import mjml2html  # noqa: PLC0415 - for the runs alone that need it

    try:
        return str(mjml2html(source))
    except ValueError as error:
        raise ConfigurationError(f"spec.email.{field} begins with <mjml> and is no MJML: {error}") from None


def _depth(source: str) -> int:
    """How many elements are in each other, at the most."""
    depth = most = 0
    for ends, name, is_empty in _TAG.findall(source):
        if name and not is_empty and name.lower() not in EMPTY:
            depth = max(depth - 1, 0) if ends else depth + 1
            most = max(most, depth)
    return most
