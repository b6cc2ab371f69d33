"""The query language for BatchJobs, of the API, the UI and the command line alike. Pure.

    type:export status:failed owner:alice queue:nightly namespace:team error:timeout reason:WorkersFailed
    age:<1d label.team:search name:monthly-2026-01 -status:succeeded "monthly"

Each qualifier has to hold; one that is repeated holds with any of its values, and with `-` before it none of them may.
`age` alone may be given twice as the two ends of a range. A word without a qualifier is the beginning of a name,
`name:` is the whole of it. A value with blanks, or an empty one, goes into quotation marks, in which a backslash stands
before a quotation mark and before another backslash. The text of a query (`str`) is the same however it was written:
sorted, each term once.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from batchjob.api.status import ErrorClass, Phase
from batchjob.api.v1alpha1 import JobType
from batchjob.core.reasons import Reason
from batchjob.errors import QueryError

MOST_CHARACTERS: Final = 2048  # of a query
MOST_TERMS: Final = 32  # each may cost a look-up at each BatchJob that is looked at
MOST_OWNER: Final = 253  # characters, as in spec.owner

WORD: Final = "word"  # what stands without a qualifier
AGE: Final = "age"
NAME: Final = "name"
LABEL: Final = "label."
_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_MOST_AGE: Final = 100 * 365 * 86_400
_AGE: Final = re.compile(r"([<>])([0-9]{1,10})([wdhms])", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_BEGINNING: Final = re.compile(r"[a-z0-9][-a-z0-9.]{0,252}", re.ASCII)
_LABEL_KEY: Final = re.compile(r"([a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
_QUALIFIER: Final = re.compile(r"[^\s:\"]*")


class Term(NamedTuple):
    """One word of a query; the value is in its canonical form."""

    field: str  # a qualifier, or WORD
    value: str
    excluded: bool = False

    def __str__(self) -> str:
        value = _quoted(self.value)
        return f"{'-' * self.excluded}{value if self.field == WORD else f'{self.field}:{value}'}"


class Query(NamedTuple):
    """What is looked for: terms, sorted, each once."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def groups(self) -> dict[tuple[str, bool], list[str]]:
        """The values of each qualifier but `age`, apart for those that are excluded."""
        found = dict[tuple[str, bool], list[str]]()
        for term in self.terms:
            if term.field != AGE:
                found.setdefault((term.field, term.excluded), []).append(term.value)
        return found

    def ages(self) -> tuple[int | None, int | None]:
        """BatchJobs older than the first and younger than the second, seconds; None: any."""
        bounds = [(term.value[0], _seconds(term.value[1:])) for term in self.terms if term.field == AGE]
        above = [seconds for way, seconds in bounds if way == ">"]
        below = [seconds for way, seconds in bounds if way == "<"]
        return max(above, default=None), min(below, default=None)


def build_query(terms: Iterable[Term]) -> Query:
    """A query of terms whose values are canonical."""
    return Query(tuple(sorted(set(terms))))


def parse_query(text: str) -> Query:
    """A query from what somebody wrote. QueryError says where it is wrong, how, and what would be right."""
    if len(text) > MOST_CHARACTERS:
        raise QueryError(f"The query has {len(text)} characters and may have {MOST_CHARACTERS}.", MOST_CHARACTERS)
    terms: list[Term] = []
    at = _next(text, 0)
    while at < len(text):
        if len(terms) == MOST_TERMS:
            raise QueryError(f"The query has more than {MOST_TERMS} terms. Leave some out.", at)
        term, end = _read_term(text, at)
        terms.append(term)
        at = _next(text, end)
    return build_query(terms)


def _next(text: str, at: int) -> int:
    """Where the next term begins."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _read_term(text: str, at: int) -> tuple[Term, int]:
    excluded = text[at] == "-"
    begin = at + excluded
    found = _QUALIFIER.match(text, begin)
    stop = found.end() if found else begin
    field = WORD
    if text[stop : stop + 1] == ":":
        field, begin = text[begin:stop], stop + 1
    check = _checks(field, at + excluded)
    if excluded and field == AGE:
        raise QueryError("age cannot be excluded. Turn its < or > round.", at)
    value, end = _read_value(text, begin)
    try:
        return Term(field, check(value), excluded), end
    except ValueError as error:
        raise QueryError(str(error), begin) from None


def _read_value(text: str, at: int) -> tuple[str, int]:
    """A value and where it ends."""
    if text[at : at + 1] == '"':
        return _read_quoted(text, at)
    end = at
    while end < len(text) and not text[end].isspace():
        if text[end] == '"':
            raise QueryError('A quotation mark stands within a value. Put the whole value into them: "…".', end)
        end += 1
    if end == at:
        raise QueryError('A value is missing. Write it right after the qualifier; "" is the empty one.', at)
    return text[at:end], end


def _read_quoted(text: str, at: int) -> tuple[str, int]:
    value, end = "", at + 1
    while end < len(text) and text[end] != '"':
        end += text[end] == "\\" and text[end + 1 : end + 2] in ('"', "\\")
        value += text[end]
        end += 1
    if end == len(text):
        raise QueryError('The quotation mark is not closed. Put another one (") at the end of the value.', at)
    if text[end + 1 : end + 2].strip():
        raise QueryError("Something follows the closing quotation mark. Put a blank between.", end + 1)
    return value, end + 1


def _quoted(value: str) -> str:
    if value and '"' not in value and not any(letter.isspace() for letter in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _checks(field: str, at: int) -> Callable[[str], str]:
    """What makes a value of a qualifier canonical; ValueError where it is none."""
    if field.startswith(LABEL):
        if not _LABEL_KEY.fullmatch(field, len(LABEL)):
            raise QueryError(f"{field} names no label. Write label.KEY:VALUE, such as label.team:search.", at)
        return _label
    if field not in _CHECKS:
        wrong = f"There is no qualifier {field}" if field else "No qualifier stands before the colon"
        raise QueryError(f"{wrong}. There are {', '.join(QUALIFIERS)} and label.KEY.", at)
    return _CHECKS[field]


def _one_of(what: str, values: Iterable[str]) -> Callable[[str], str]:
    known = {value.lower(): value for value in values}

    def check(value: str) -> str:
        if value.lower() not in known:
            raise ValueError(f"{what} {value} does not exist. There are {', '.join(known.values())}.")
        return known[value.lower()]

    return check


def _a_name(what: str, pattern: re.Pattern[str] = _NAME) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value or 'nothing'} is no {what}: small letters, digits, - and . only.")
        return value

    return check


def _word(value: str) -> str:
    if not _BEGINNING.fullmatch(value.lower()):
        raise ValueError(
            f"{value or 'nothing'} begins no name, which has small letters, digits, - and . only. "
            "What is to be found otherwise needs its qualifier, such as owner:alice."
        )
    return value.lower()


def _owner(value: str) -> str:
    if not 0 < len(value) <= MOST_OWNER:
        raise ValueError(f"An owner has 1 to {MOST_OWNER} characters.")
    return value


def _label(value: str) -> str:
    if not _LABEL_VALUE.fullmatch(value):
        raise ValueError(f"{value} is no value of a label: at most 63 letters, digits, -, _ and . between them.")
    return value


def _error(value: str) -> str:
    if value not in set(ErrorClass) and not _FINGERPRINT.fullmatch(value):
        classes = ", ".join(ErrorClass)
        raise ValueError(f"{value} is neither the fingerprint of an error nor a class. There are {classes}.")
    return value


def _age(value: str) -> str:
    found = _AGE.fullmatch(value)
    if not found or _seconds(value[1:]) > _MOST_AGE:
        raise ValueError(
            f"{value} is no age. Write < or >, a number and s, m, h, d or w: age:<1d is younger than a day."
        )
    seconds = _seconds(value[1:])
    unit = next(unit for unit, size in _UNITS.items() if seconds % size == 0)
    return f"{found[1]}{seconds // _UNITS[unit]}{unit}"


def _seconds(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]


_CHECKS: Final[dict[str, Callable[[str], str]]] = {
    "type": _one_of("Type", JobType),
    "status": _one_of("Status", (phase.lower() for phase in Phase)),
    "owner": _owner,
    "queue": _a_name("queue"),
    "namespace": _a_name("namespace"),
    "error": _error,
    "reason": _one_of("Reason", Reason),
    AGE: _age,
    NAME: _a_name("name of a BatchJob"),
    WORD: _word,
}
QUALIFIERS: Final = tuple(name for name in _CHECKS if name != WORD)
