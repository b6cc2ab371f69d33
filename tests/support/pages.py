"""The pages of the docs: their links, their headings, and what they tell people to type."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY: Final = Path(__file__).parents[2]


class Block(NamedTuple):
    """A fenced block of a page, by the line it begins in."""

    page: Path
    line: int
    language: str
    text: str


def pages() -> list[Path]:
    """Every page of Markdown that is in the repository, relative to it."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def links(page: Path) -> Iterator[str]:
    """What a page links to, as written."""
    for token in _tokens(page):
        for child in token.children or ():
            if child.type in {"link_open", "image"}:
                yield str(child.attrGet("href") or child.attrGet("src"))


def anchors(page: Path) -> set[str]:
    """The fragments that lead to a heading of a page, as GitHub makes them."""
    tokens = _tokens(page)
    return {
        re.sub(r"[^\w\- ]", "", _words(after)).strip().lower().replace(" ", "-")
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    }


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for token in _tokens(page):
        if token.type == "fence":
            yield Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content)


def _words(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((REPOSITORY / page).read_text())
