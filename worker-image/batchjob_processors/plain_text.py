"""The plain text of a mail, from its HTML: what a reader without HTML sees. Pure.

On the standard library's parser: the kept libraries for it would add a tenth to the image (resiliparse 14 MB,
inscriptis 17 MB), draw boxes around the tables that mails are laid out with, or are under the GPL.
"""

import re
from html.parser import HTMLParser
from typing import Final

_HIDDEN: Final = frozenset({"head", "script", "style", "template", "title"})
_HIDDEN_STYLE: Final = re.compile(r"display\s*:\s*none", re.IGNORECASE)  # such as the preview text of a newsletter
EMPTY: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_PARAGRAPHS: Final = frozenset(
    {"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p", "pre", "table", "ul"}
)
_LINES: Final = frozenset({"article", "aside", "dd", "div", "dt", "footer", "header", "li", "main", "section", "tr"})
_CELLS: Final = frozenset({"td", "th"})
_SHOWN_LINKS: Final = ("http://", "https://", "mailto:", "tel:")


def plain_text(html: str) -> str:
    """The text with its paragraphs, list items and rows; where a link leads follows it in parentheses."""
    reader = _Reader()
    # Not closed: what a tag or a comment without an end hides is not shown, and the parser would look for that end
    # again from each character on. The line end completes an entity.
    reader.feed(f"{html}\n")
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._breaks = 0  # line ends wanted before the next word
        self._space = False  # whether a space is
        self._hidden: tuple[str, int] | None = None  # the tag of what is not shown, and how often it is open
        self._preformatted = 0
        self._lists: list[int] = []  # of each list that is open: the next number, 0 for bullets
        self._link: tuple[str, int] | None = None  # that is open (they do not nest): where it leads, where it began

    def text(self) -> str:
        """What was read so far."""
        lines = [line.rstrip() for line in "".join(self._pieces).split("\n")]
        return "\n".join(lines).strip("\n") + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Breaks, bullets, and what is not shown."""
        attributes = {name: value or "" for name, value in attrs}
        if self._hidden:
            hidden, depth = self._hidden
            self._hidden = hidden, depth + (tag == hidden)
            return
        if tag not in EMPTY and (tag in _HIDDEN or _HIDDEN_STYLE.search(attributes.get("style", ""))):
            self._hidden = tag, 1
            return
        self._break(tag)
        match tag:
            case "br":
                self._breaks += 1
            case "img" if attributes.get("alt"):
                self.handle_data(attributes["alt"])
            case "a":
                self._link = attributes.get("href", ""), len(self._pieces)
            case "ul" | "ol":
                self._lists.append(int(tag == "ol"))
            case "li":
                self._begin_item()
            case "pre":
                self._preformatted += 1

    def handle_endtag(self, tag: str) -> None:
        """Breaks, and where a link leads."""
        if self._hidden:
            hidden, depth = self._hidden
            depth -= tag == hidden
            self._hidden = (hidden, depth) if depth else None
            return
        match tag:
            case "a" if self._link:
                self._end_link(*self._link)
                self._link = None
            case "ul" | "ol" if self._lists:
                self._lists.pop()
            case "pre" if self._preformatted:
                self._preformatted -= 1
        self._break(tag)

    def handle_data(self, data: str) -> None:
        """Words, with one space between them."""
        if self._hidden:
            return
        if self._preformatted:
            self._write(data)
            return
        words = data.split()
        self._space = self._space or data[:1].isspace()
        if words:
            self._write(" ".join(words))
            self._space = data[-1].isspace()

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """Skip <![…>, of which the parser knows some kinds and fails over others."""
        del report
        return self.parse_bogus_comment(i, report=False)

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._breaks = max(self._breaks, 2)
        elif tag in _LINES:
            self._breaks = max(self._breaks, 1)
        elif tag in _CELLS:
            self._space = True

    def _begin_item(self) -> None:
        number = self._lists[-1] if self._lists else 0
        self._write(f"{number}." if number else "-")
        self._space = True
        if number:
            self._lists[-1] += 1

    def _end_link(self, href: str, begin: int) -> None:
        shown = "".join(self._pieces[begin:]).strip()
        if href.startswith(_SHOWN_LINKS) and href.partition(":")[2].lstrip("/") not in shown:
            self._write(f" ({href})" if shown else href)

    def _write(self, text: str) -> None:
        if self._breaks and self._pieces:
            self._pieces.append("\n" * self._breaks)
        elif self._space and self._pieces:
            self._pieces.append(" ")
        self._breaks, self._space = 0, False
        self._pieces.append(text)
