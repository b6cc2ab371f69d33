"""What commands print: tables, objects and colours. Nothing of it is written by the one who reads it.

Names of items, messages and labels are other people's: a control character among them could rewrite a terminal, and is
shown as its number.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click

from batchjob.cli.options import WIDE
from batchjob.cli.views import NONE, TABLES, age

_GAP: Final = "   "
_WIDE: Final = frozenset({"W", "F"})  # of Unicode's East Asian widths
_SET_OVER: Final = frozenset({"Mn", "Me"})  # of its categories: marks that take no place of their own
_COLOURS: Final = {
    "Succeeded": "green",
    "Failed": "red",
    "Cancelled": "yellow",
    "Suspended": "yellow",
    "Running": "cyan",
    "Finalizing": "cyan",
}


def is_terminal() -> bool:
    """Whether somebody looks."""
    return sys.stdout is not None and sys.stdout.isatty()


def has_colours() -> bool:
    """Whether to paint: for a terminal alone, and not where NO_COLOR is set to anything (no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def clean(value: object) -> str:
    """A text in one line, without what a terminal would act on."""
    text = "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def say(text: str = "") -> None:
    """Print a line, whatever standard output can encode."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), color=has_colours())


def note(text: str) -> None:
    """Print a line for people, beside what is printed for programs."""
    click.echo(text, err=True)


def paint(text: str, word: str) -> str:
    """A text in the colour of a phase."""
    colour = _COLOURS.get(word)
    return click.style(text, fg=colour) if colour and has_colours() else text


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table, with columns as wide as what is in them."""
    shown = [[clean(cell) for cell in row] for row in rows]
    widths = [max(_width(row[place]) for row in [[*headers], *shown]) for place in range(len(headers))]
    lines = []
    for row in [[*headers], *shown]:
        cells = [paint(cell + " " * (width - _width(cell)), cell) for cell, width in zip(row, widths, strict=True)]
        lines.append(_GAP.join(cells).rstrip())
    return lines


def _width(text: str) -> int:
    """How many columns of a terminal it takes: an ideograph or an emoji two, and an accent that is set over it none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(letter) in _SET_OVER else 2 if unicodedata.east_asian_width(letter) in _WIDE else 1
        for letter in text
    )


def show_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    for line in table(headers, rows):
        say(line)


def show_json(value: Any) -> None:
    """Print a document."""
    say(as_json(value, indent=2))


def show_lines(values: Iterable[Any]) -> None:
    """Print documents, one a line."""
    for value in values:
        say(as_json(value))


def as_json(value: Any, indent: int | None = None) -> str:
    """A document as JSON; for a terminal with what that would act on escaped, which is the same JSON."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if not is_terminal() or _is_harmless(text):
        return text
    return "".join(letter if _is_harmless(letter) else json.dumps(letter)[1:-1] for letter in text)


def _is_harmless(text: str) -> bool:
    return text.replace("\n", "").isprintable()  # line ends are ours: those of texts are escaped anyway


def show_yaml(*values: Any) -> None:
    """Print documents; on a terminal as JSON is printed there, but that all that is not ASCII is escaped then."""
    import yaml

    def dump(*, is_raw: bool) -> str:
        return yaml.safe_dump_all(values, sort_keys=False, allow_unicode=is_raw, width=120).rstrip("\n")

    text = dump(is_raw=True)
    say(text if not is_terminal() or _is_harmless(text) else dump(is_raw=False))


def show(found: Sequence[Mapping[str, Any]], form: str, kind: str, now: datetime, *, single: bool = False) -> None:
    """Print objects in one of the FORMATS; `single`: one that was named is shown by itself, not as a list."""
    bare = [_without_managed_fields(item) for item in found]
    match form:
        case "json" | "yaml":
            whole = bare[0] if single else {"apiVersion": "v1", "kind": "List", "items": bare}
            (show_json if form == "json" else show_yaml)(whole)
        case "jsonl":
            show_lines(bare)
        case "name":
            for item in bare:
                say(f"{kind.lower()}.batchjob.dev/{item['metadata']['name']}")
        case _:
            show_objects(found, kind, now, wide=form == WIDE)


def show_made(made: Mapping[str, Any], form: str, sentence: str) -> None:
    """Print an object that was created or changed: itself, its name, or with what was done."""
    name = f"{made['kind'].lower()}.batchjob.dev/{made['metadata']['name']}"
    match form:
        case "json":
            show_json(_without_managed_fields(made))
        case "yaml":
            say("---")
            show_yaml(_without_managed_fields(made))
        case "name":
            say(name)
        case _:
            say(f"{name} {sentence}")


def show_objects(
    found: Sequence[Mapping[str, Any]],
    kind: str,
    now: datetime,
    *,
    wide: bool = False,
    everywhere: bool = False,
    headed: bool = True,
) -> None:
    """Print objects as a table of the columns that kubectl shows."""
    columns = [column for column in TABLES[kind] if wide or not column.priority]
    headers = ["NAME", *(column.header.upper() for column in columns if not column.priority), "AGE"]
    headers += [column.header.upper() for column in columns if column.priority]
    rows = []
    for item in found:
        plain = [column.cell(item, now) for column in columns if not column.priority]
        more = [column.cell(item, now) for column in columns if column.priority]
        metadata = item["metadata"]
        place = [metadata["namespace"]] if everywhere else []
        rows.append([*place, metadata["name"], *plain, _age(metadata, now), *more])
    lines = table([*(["NAMESPACE"] if everywhere else []), *headers], rows)
    for line in lines if headed else lines[1:]:
        say(line)


def _age(metadata: Mapping[str, Any], now: datetime) -> str:
    created = metadata.get("creationTimestamp")  # a queue of a type needs no object
    return age(created, now) if created else NONE


def _without_managed_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object as people want to see it: who wrote which field last is the API server's own book-keeping."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {**item, "metadata": metadata}
