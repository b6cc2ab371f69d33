"""A body with very many items, taken apart while it comes: fields, and items one by one. Pure.

Two forms: a JSON object as ever, whose `items` is a long array, and lines of JSON (NDJSON), of which the first has the
fields and each other one is an item. Every value goes through the decoder that reads small bodies, so that a large body
is read no less strictly; what is done here is to find where a value ends. A streaming parser of the field (ijson) does
that too, but lets a key stand twice, and builds each item from some thirty events in Python.

Memory holds a block and the value at hand, which is bounded: an item by what a worker reads of one, the fields by what
a small body may have.
"""

import codecs
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from batchjob.gateway.bodies import DECODER, MAX_BYTES, MAX_DEPTH, check_characters, check_depth, parse_object
from batchjob.gateway.problems import BAD_REQUEST, TOO_LARGE, Fault, Problem, invalid

ITEM_BYTES: Final = 1024 * 1024  # of an item: a worker reads no longer line
LONGEST_WORD: Final = 16  # of JSON, cut off: a number goes on, -Infinity and \\ud83d do not
_MARK: Final = "\ufeff"  # spreadsheets and editors begin UTF-8 with it
_SPACE: Final = " \t\r\n"
MOST_BLANKS: Final = 64 * 1024  # in a row; and empty lines beyond one an item: gzip makes a thousand times as many free

_BLANKS: Final = re.compile(f"[{_SPACE}]*")
_OF_A_NUMBER: Final = re.compile(r"[-+.eE\d]+")

T = TypeVar("T")


class Piece(NamedTuple):
    """An item as it was sent; `line`: of the body, from 1, where it is one of lines."""

    value: Any
    text: str  # its JSON
    line: int | None = None


_Reading = Generator[Piece | None, None, T]  # gives items, and None where it waits for more of the text


class Splitter(ABC):
    """Takes blocks of a body, gives items. Every call may raise a Problem."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}  # what the body says besides items, as far as it was read
        self.line_of_fields: int | None = None  # where the body is one of lines
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    @abstractmethod
    def feed(self, block: bytes) -> Iterator[Piece]:
        """The items that are complete with this block."""

    @abstractmethod
    def finish(self) -> Iterator[Piece]:
        """The items that the end of the body completes; refuses one that is not whole."""

    def _decoded(self, block: bytes, *, last: bool = False) -> str:
        try:
            return self._utf8.decode(block, last)
        except UnicodeError:
            raise Problem(BAD_REQUEST, "The body is not UTF-8") from None


class Lines(Splitter):
    """Lines of JSON: fields first, then an item each. Empty lines say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = ""
        self._line = 0
        self._spare = MOST_BLANKS  # empty lines that may still come

    def feed(self, block: bytes) -> Iterator[Piece]:
        """Complete lines."""
        *lines, rest = (self._rest + self._decoded(block)).split("\n")
        self._rest = rest
        for line in lines:
            yield from self._read(line)
        if len(rest) > ITEM_BYTES:
            raise self._too_long(self._line + 1)

    def finish(self) -> Iterator[Piece]:
        """The last line, where it has no line end."""
        rest, self._rest = self._rest + self._decoded(b"", last=True), ""
        yield from self._read(rest)
        if self.line_of_fields is None:
            raise Problem(BAD_REQUEST, "There is no line: the first has the fields of the BatchJob, such as its type")

    def _read(self, line: str) -> Iterator[Piece]:
        self._line += 1
        text = (line.removeprefix(_MARK) if self._line == 1 else line).strip(_SPACE)
        self._spare += 1 if text else -1
        if self._spare < 0:
            raise Problem(TOO_LARGE, f"There are {MOST_BLANKS} more empty lines than others: leave them out")
        if not text:
            return
        if self.line_of_fields is None:
            self._read_fields(text)
            return
        if len(text) > ITEM_BYTES:
            raise self._too_long(self._line)
        try:
            check_depth(text)
            value = DECODER.decode(text)
            check_characters(value, text)
        except UnicodeError:
            raise self._bad("holds half of a surrogate pair, which is no character") from None
        except (ValueError, RecursionError) as error:
            raise self._bad(f"is not JSON that we read: {_said(error)}") from None
        yield Piece(value, text, self._line)

    def _read_fields(self, text: str) -> None:
        if len(text) > MAX_BYTES:
            raise self._too_long(self._line, MAX_BYTES)
        try:
            self.fields.update(parse_object(text.encode()))
        except Problem as problem:
            raise Problem(problem.slug, f"line {self._line}: {problem.detail}", faults=problem.faults) from None
        if "items" in self.fields:
            raise invalid(Fault("/items", "each is a line of its own, after this one", line=self._line))
        self.line_of_fields = self._line

    def _bad(self, said: str) -> Problem:
        return Problem(BAD_REQUEST, f"line {self._line} {said}", faults=[Fault("", said, line=self._line)])

    def _too_long(self, line: int, limit: int = ITEM_BYTES) -> Problem:
        said = f"has more than {limit} bytes, the most that it may have"
        return Problem(TOO_LARGE, f"line {line} {said}", faults=[Fault("", said, line=line)])


class Document(Splitter):
    """A JSON object with the field `items`. Written as its grammar: where the text ends, it waits for more."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self._at = 0  # what was read of it
        self._passed = 0  # characters before it
        self._ended = False
        self._size = 0  # of fields, in characters
        self._has_items = False
        self._run = self._object()

    def feed(self, block: bytes) -> Iterator[Piece]:
        """Items whose ends are known."""
        self._passed += self._at
        self._text, self._at = self._text[self._at :] + self._decoded(block), 0
        return self._pieces()

    def finish(self) -> Iterator[Piece]:
        """Refuses what is not whole."""
        self._text += self._decoded(b"", last=True)
        self._ended = True
        return self._pieces()

    def _pieces(self) -> Iterator[Piece]:
        for found in self._run:
            if found is None:
                return
            yield found

    def _object(self) -> _Reading[None]:
        yield from self._sign("{")
        sign = ","
        if (yield from self._peek()) == "}":
            sign = yield from self._sign("}")
        while sign == ",":
            yield from self._field()
            sign = yield from self._sign(",}")
        if (yield from self._peek()):
            raise self._broken("there is more after its end")

    def _field(self) -> _Reading[None]:
        name, name_text = yield from self._value("the body", MAX_BYTES)
        if not isinstance(name, str):
            raise self._broken("a field has no name")
        if name in self.fields or (name == "items" and self._has_items):
            raise self._broken(f"the key {name!r:.100} is there twice in an object")
        yield from self._sign(":")
        if name == "items" and (yield from self._peek()) == "[":
            self._has_items = True
            yield from self._items()
            return
        value, text = yield from self._value(f"/{name:.100}", MAX_BYTES)
        self._size += len(name_text) + len(text)
        if self._size > MAX_BYTES:
            raise Problem(TOO_LARGE, f"The fields besides items may have {MAX_BYTES} bytes")
        self.fields[name] = value

    def _items(self) -> _Reading[None]:
        yield from self._sign("[")
        if (yield from self._peek()) == "]":
            yield from self._sign("]")
            return
        sign, number = ",", 0
        while sign == ",":
            value, text = yield from self._value(f"/items/{number}", ITEM_BYTES)
            yield Piece(value, text)
            number += 1
            sign = yield from self._sign(",]")

    def _peek(self) -> _Reading[str]:
        """The next sign; empty at the end."""
        blanks = 0
        while True:
            found = _BLANKS.match(self._text, self._at)
            end = found.end() if found else self._at
            blanks, self._at = blanks + end - self._at, end
            if blanks > MOST_BLANKS:
                raise Problem(TOO_LARGE, f"There are more than {MOST_BLANKS} blanks in a row: leave them out")
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            yield None

    def _sign(self, signs: str) -> _Reading[str]:
        """Step over one of these signs."""
        found = yield from self._peek()
        if not found or found not in signs:
            expected = " or ".join(signs)
            raise self._broken(f"{expected} has to stand here" if found else "it breaks off")
        self._at += 1
        return found

    def _value(self, where: str, most: int) -> _Reading[tuple[Any, str]]:
        """A value and its text. It is tried anew when twice as much is there, and where no more may come."""
        yield from self._peek()
        tried = 0
        while True:
            there = len(self._text) - self._at
            if there >= 2 * tried or there > most or self._ended:
                tried = there
                if (found := self._tried(where)) is not None:
                    value, end = found
                    return value, self._taken(value, end, where, most)
                if there > most:
                    said = f"has more than {most} bytes, the most that it may have"
                    raise Problem(TOO_LARGE, f"{where} {said}", faults=[Fault(where, said)])
            yield None

    def _tried(self, where: str) -> tuple[Any, int] | None:
        """A value and where it ends; None where that is not here yet."""
        try:
            value, end = DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            if self._ended or not _may_go_on(error, len(self._text)):
                raise self._broken(error.msg, where, error.pos) from None
            return None
        except RecursionError:
            raise self._broken(f"it nests deeper than {MAX_DEPTH} levels", where) from None
        except ValueError as error:
            raise self._broken(str(error), where) from None
        over = _OF_A_NUMBER.match(self._text, end)  # "0." is cut off, and the decoder saw a 0 in it
        if (over is None or over.end() < len(self._text)) and (end < len(self._text) or self._ended):
            return value, end
        if self._ended:
            raise self._broken("it breaks off", where)
        return None

    def _taken(self, value: Any, end: int, where: str, most: int) -> str:
        text, self._at = self._text[self._at : end], end
        if len(text) > most:
            said = f"has {len(text)} characters and may have {most}"
            raise Problem(TOO_LARGE, f"{where} {said}", faults=[Fault(where, said)])
        try:
            check_depth(text)
            check_characters(value, text)
        except UnicodeError:
            raise self._broken("it holds half of a surrogate pair, which is no character", where) from None
        except ValueError as error:
            raise self._broken(str(error), where) from None
        return text

    def _broken(self, said: str, where: str = "", at: int | None = None) -> Problem:
        place = self._passed + (self._at if at is None else at)
        inside = f" ({where})" if where.startswith("/") else ""
        return Problem(BAD_REQUEST, f"The body is not JSON that we read: {said}, at character {place}{inside}")


def _said(error: Exception) -> str:
    return f"{error.msg}, at character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)


def _may_go_on(error: json.JSONDecodeError, length: int) -> bool:
    """Whether the text may only be cut off: a text that has no end yet, or a word, a number or an escape at its end."""
    return error.msg.startswith("Unterminated") or error.pos > length - LONGEST_WORD
