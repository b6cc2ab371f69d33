"""Faults: rules, set by a test while the neighbours run, that make chosen requests go wrong.

A rule picks requests by a regular expression over what the neighbour calls its text, and has a budget of `times` for
each item, so that "503 twice, then fine" is one rule. Delays of all matching rules add up; the first matching rule
with another action decides. Rules live in memory alone: a restarted neighbour behaves.
"""

import re
import threading
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

ACTIONS: Final = {
    "chat": (
        *("status", "delay", "disconnect", "headers", "invalid_json", "wrong_answer", "omit", "chatter"),
        *("refuse_format", "refuse_limit", "content_filter", "refusal"),
    ),
    "smtp": ("smtp_code", "delay", "disconnect", "data_code", "answer_late", "lose_answer"),
    "s3": ("status", "delay", "disconnect"),
    "https": ("status", "delay", "disconnect", "redirect", "endless", "short", "stall", "gzip"),
    "hooks": ("status", "delay", "disconnect", "redirect"),
    "issuer": (
        *("status", "delay", "disconnect", "other_issuer", "plain_http", "access_denied", "login_required"),
        *("wrong_state", "other_iss", "wrong_nonce", "wrong_audience", "wrong_issuer", "wrong_party", "expired"),
        *("not_yet", "wrong_key", "unknown_key", "unsigned", "no_id_token"),
    ),
}
DEFAULT_STATUS: Final = {"smtp_code": 451, "data_code": 451, "content_filter": 200}
AT_DATA: Final = frozenset({"data_code", "answer_late", "lose_answer"})  # of smtp: once the mail is whole


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault. `times` is per item, None is for ever; `status` is the HTTP status or the SMTP code.

    `kind` is what a chat asks for (strict, json_schema, json_object, text); `headers` go with the answer.
    """

    action: str
    match: str = ""
    status: int = 0
    retry_after: int | None = None
    delay_seconds: float = 0.0
    times: int | None = None
    location: str = ""
    kind: str = ""
    headers: dict[str, str] | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with one request: wait, then follow the rule, or behave where there is none."""

    delay_seconds: float = 0.0
    rule: Rule | None = None


BEHAVE: Final = Verdict()


class Faults:
    """The rules of one neighbour and how often each was applied; safe to use from several threads."""

    def __init__(self, neighbour: str) -> None:
        self._neighbour = neighbour
        self._lock = threading.Lock()
        self._patterns: list[tuple[Rule, re.Pattern[str]]] = []
        self._applied: Counter[tuple[int, str]] = Counter()
        self._hits: Counter[int] = Counter()

    def replace(self, rules: Any) -> None:
        """Take these rules in place of all earlier ones; ValueError, and no change, where one is wrong."""
        if not isinstance(rules, list):
            raise ValueError("faults are a list of rules")  # noqa: TRY004  # bad input, answered with 400
        parsed = [parse_rule(self._neighbour, rule) for rule in rules]
        with self._lock:
            self._patterns = [(rule, re.compile(rule.match)) for rule in parsed]
            self._applied.clear()
            self._hits.clear()

    def decide(self, item: str, text: str, *, kind: str = "", at_data: bool = False) -> Verdict:
        """The verdict on a request of this kind about `item`, at this step of it; counts as applied."""
        if not self._patterns:
            return BEHAVE
        delay = 0.0
        with self._lock:
            for number, (rule, pattern) in enumerate(self._patterns):
                spent = rule.times is not None and self._applied[number, item] >= rule.times
                if spent or (rule.action in AT_DATA) != at_data:
                    continue
                if not pattern.search(text) or not re.search(rule.kind, kind):
                    continue
                self._applied[number, item] += 1
                self._hits[number] += 1
                delay += rule.delay_seconds
                if rule.action != "delay":
                    return Verdict(delay, rule)
        return Verdict(delay)

    def describe(self) -> list[dict[str, Any]]:
        """The rules, each with the number of its `hits`."""
        with self._lock:
            return [{**asdict(rule), "hits": self._hits[n]} for n, (rule, _) in enumerate(self._patterns)]


def parse_rule(neighbour: str, raw: Any) -> Rule:
    """A rule from JSON; ValueError says what is wrong with it."""
    if not isinstance(raw, dict) or not raw.keys() <= {field.name for field in fields(Rule)}:
        raise ValueError(f"a rule has the fields {[field.name for field in fields(Rule)]}, not {raw!r}")
    action = raw.get("action")
    if action not in ACTIONS[neighbour]:
        raise ValueError(f"{neighbour} knows the actions {ACTIONS[neighbour]}, not {action!r}")
    rule = Rule(**{"status": DEFAULT_STATUS.get(action, 500), **raw})
    numbers = (rule.status, rule.delay_seconds, rule.retry_after or 0, rule.times or 0)
    if not all(_is_amount(number) for number in numbers):
        raise ValueError(f"status, delay_seconds, retry_after and times are numbers from 0 up: {raw!r}")
    if (action == "redirect") != bool(rule.location):
        raise ValueError(f"redirect, and nothing else, has a location: {raw!r}")
    if "status" in raw and rule.status not in range(400, 600):
        raise ValueError(f"a fault answers with a status of 400 to 599, not {rule.status}")
    try:
        re.compile(rule.match)
        re.compile(rule.kind)
    except (re.error, TypeError) as error:
        raise ValueError(f"match {rule.match!r} or kind {rule.kind!r} is no regular expression: {error}") from error
    headers: Any = rule.headers
    if headers is not None and not all(isinstance(value, str) for value in dict(headers).values()):
        raise ValueError(f"headers are text by name: {raw!r}")
    return rule


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0
