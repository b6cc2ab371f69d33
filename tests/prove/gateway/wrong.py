"""Requests that have to be refused: bodies that the gateway takes, each spoilt in one way. From a seed.

What is broken, how, and what has to be said of it is known of each, so that a refusal for another reason is found.
"""

import gzip
import json
import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any, Final, NamedTuple

Json = dict[str, Any]
Steps = tuple[str | int, ...]

JOBS: Final = "/api/v1/batch-jobs"
SEED: Final = "/api/ai-annotator/batch"
JSON_TYPE: Final = "application/json"
LINES_TYPE: Final = "application/x-ndjson"
FORM: Final = {"fields": [{"name": "mood", "type": "enum", "enum": ["good", "bad"]}]}
MODEL: Final = {"name": "m", "baseUrl": "http://model/v1"}
ITEMS: Final = [{"id": f"r{place}", "data": {"text": "Arrived early."}} for place in range(3)]
BLOCK: Final = {"instructions": "Say how the writer feels.", "model": MODEL}
# What is taken, by method and path.
GOOD: Final[dict[tuple[str, str], Json]] = {
    ("POST", JOBS): {
        "type": "ai-batch",
        "labels": {"team": "support"},
        "priority": 3,
        "queueName": "nightly",
        "suspend": True,
        "retention": {"failedSeconds": 3600},
        "items": ITEMS,
        "aiBatch": {**BLOCK, "formSchema": FORM},
    },
    ("POST", SEED): {"items": ["Well.", "No."], "formSchema": FORM, "options": {**BLOCK, "priority": 1}},
    ("POST", f"{JOBS}/team.ended/redrive"): {"filter": {"errorClass": ["timeout"], "itemIds": ["r1"]}},
    ("PATCH", "/api/v1/queues/custom"): {"maxActiveJobs": 5, "paused": True, "limits": {"maxItems": 100}},
    ("POST", "/api/v1/schedules"): {
        "name": "nightly",
        "schedules": ["0 9 * * 1"],
        "timeZone": "Europe/Berlin",
        "jobTemplate": {"spec": {"type": "custom", "custom": {"processor": "noop"}, "source": {"items": ITEMS}}},
    },
}
OTHERS: Final[dict[type, Sequence[Any]]] = {  # what a value of a type cannot be
    str: (1, True, [], {"a": 1}, 10**30, 0.5),
    int: ("1", [], {"a": 1}, True, 1.5, 10**30, -(10**18)),
    bool: ("true", 1, [], {"a": 1}),
    list: ("x", 1, {"a": 1}, False),
    dict: ("x", 1, [1], False),
}
HERE: Final = "@here@"
MANY: Final = 100_000_000  # bytes: what is claimed, and what a bomb stands for
SMALL: Final = 500_000  # bytes: of a longer one it may be said first that it is too long
NO_JSON: Final = frozenset({400})
REFUSED: Final = frozenset({400, 413, 422})


class Wrong(NamedTuple):
    """A request, and what has to be answered."""

    kind: str
    method: str
    path: str
    body: bytes
    statuses: frozenset[int]
    where: str | None = None  # a pointer to what is wrong; empty: to any place
    line: int | None = None
    media_type: str = JSON_TYPE
    encoding: str | None = None
    claim: str | None = None  # Content-Length; None: the truth; "chunked": without any
    is_of_http: bool = False  # refused before there is a request: in the server's own words, or by none


def wrong_requests(seed: int, count: int) -> Iterator[Wrong]:
    """So many, of all kinds in turn."""
    random = Random(seed)
    makers = [maker for maker, weight in MAKERS.items() for _ in range(weight)]
    for number in range(count):
        yield makers[number % len(makers)](random)


def _choose(random: Random, *, big: bool = False) -> tuple[str, str, Json]:
    places = [place for place in GOOD if not big or place[1] in {JOBS, SEED}]
    method, path = random.choice(places)
    return method, path, deepcopy(GOOD[method, path])


def _places(value: Any, steps: Steps = (), *, typed: bool) -> Iterator[Steps]:
    """The ways to all values in a body; `typed`: to those alone that have to be of a type."""
    if typed and ("data" in steps or "labels" in steps[:-1]):
        return
    yield steps
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        yield from _places(child, (*steps, step), typed=typed)


def _get(body: Any, steps: Steps) -> Any:
    for step in steps:
        body = body[step]
    return body


def _put(body: Any, steps: Steps, value: Any) -> None:
    _get(body, steps[:-1])[steps[-1]] = value


def _encode(body: Any) -> bytes:
    return json.dumps(body).encode()


def _pointer(steps: Steps) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _of_another_type(random: Random) -> Wrong:
    method, path, body = _choose(random)
    steps = random.choice([steps for steps in _places(body, typed=True) if steps])
    there = _get(body, steps)
    others = [
        one for one in OTHERS[type(there)] if not (isinstance(one, dict) and steps[0] == "items" and path == SEED)
    ]
    _put(body, steps, random.choice(others))
    return Wrong("of another type", method, path, _encode(body), REFUSED, _pointer(steps))


def _with_an_unknown_field(random: Random) -> Wrong:
    method, path, body = _choose(random)
    objects = [steps for steps in _places(body, typed=True) if isinstance(_get(body, steps), dict)]
    objects = [steps for steps in objects if "labels" not in steps and not (path == SEED and steps[:1] == ("items",))]
    steps = (*random.choice(objects), random.choice(["unknown", "a/b", "tilde~"]))
    _put(body, steps, random.choice([1, "x", {}] if method == "PATCH" else [1, "x", {}, None]))  # it takes away by null
    return Wrong("with an unknown field", method, path, _encode(body), REFUSED, _pointer(steps))


def _with_a_text_that_is_no_json(kind: str, texts: Sequence[Callable[[Random], bytes]]) -> Callable[[Random], Wrong]:
    """Somewhere, a value is replaced by what no reader of JSON may take."""

    def made(random: Random) -> Wrong:
        method, path, body = _choose(random)
        _put(body, random.choice([steps for steps in _places(body, typed=False) if steps]), HERE)
        text = random.choice(texts)(random)
        whole = _encode(body).replace(b'"' + HERE.encode() + b'"', text)
        return Wrong(kind, method, path, whole, NO_JSON if len(whole) < SMALL else REFUSED)

    return made


def _deep(random: Random) -> bytes:
    levels = random.choice([65, 100, 1000, 100_000])
    opening, closing = random.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return opening * levels + b"1" + closing * levels * random.randrange(2)


def _twice(random: Random) -> Wrong:
    method, path, body = _choose(random)
    name = random.choice([*body])
    text = _encode(body)[:-1] + b"," + json.dumps(name).encode() + b":1}"
    return Wrong("with a key twice", method, path, text, NO_JSON)


def _cut(random: Random) -> Wrong:
    method, path, body = _choose(random)
    text = _encode(body)
    return Wrong("cut", method, path, text[: random.randrange(1, len(text))], NO_JSON)


def _noise(random: Random) -> Wrong:
    method, path, _ = _choose(random)
    return Wrong("noise", method, path, b"\xff" + random.randbytes(random.randrange(2000)), NO_JSON)


def _no_object(random: Random) -> Wrong:
    method, path, _ = _choose(random)
    return Wrong("no object", method, path, random.choice([b"[]", b'"x"', b"1", b"null", b"true"]), REFUSED, "")


def _not_json_by_its_type(random: Random) -> Wrong:
    method, path, body = _choose(random)
    kind = random.choice(["text/plain", "application/xml", "multipart/form-data", "application/", "json"])
    return Wrong("of another media type", method, path, _encode(body), frozenset({415}), media_type=kind)


def _of_an_unknown_encoding(random: Random) -> Wrong:
    method, path, body = _choose(random)
    encoding = random.choice(["br", "deflate", "gzip, gzip", "zstd"])
    return Wrong("of an unknown encoding", method, path, _encode(body), frozenset({415}), encoding=encoding)


def _bomb(random: Random) -> Wrong:
    method, path, _ = _choose(random)
    unit = random.choice([b" ", b"[", b'"', b"1"])
    head = b"" if unit != b'"' else b'{"a":'
    packed = _packed(head, b"x" if head else unit)
    return Wrong("a bomb", method, path, packed, frozenset({400, 413}), encoding="gzip")


_BOMBS: Final[dict[tuple[bytes, bytes], bytes]] = {}


def _packed(head: bytes, unit: bytes) -> bytes:
    if (head, unit) not in _BOMBS:
        _BOMBS[head, unit] = gzip.compress(head + (b'"' if head else b"") + unit * MANY, 1)
    return _BOMBS[head, unit]


def _broken_gzip(random: Random) -> Wrong:
    method, path, body = _choose(random)
    packed = gzip.compress(_encode(body))
    spoilt = random.choice([packed[: random.randrange(1, len(packed))], random.randbytes(100), packed + b"more"])
    return Wrong("broken gzip", method, path, spoilt, NO_JSON, encoding="gzip")


def _too_long(random: Random) -> Wrong:
    """More than any body may have, and no end of it is said."""
    method, path, _ = _choose(random)
    return Wrong("without an end", method, path, b"", frozenset({400, 413}), claim="chunked")


def _claimed(random: Random) -> Wrong:
    method, path, body = _choose(random)
    return Wrong("a claim of 100 MB", method, path, _encode(body), frozenset({413}), claim=str(MANY))


def _claimed_less(random: Random) -> Wrong:
    method, path, body = _choose(random)
    text = _encode(body)
    return Wrong("a claim of less", method, path, text, NO_JSON, claim=str(random.randrange(1, len(text))))


def _claimed_more(random: Random) -> Wrong:
    """The client goes away before it has sent what it claimed: nobody may be there to hear the answer."""
    method, path, body = _choose(random)
    text = _encode(body)
    return Wrong("a claim of more", method, path, text, NO_JSON, claim=str(len(text) + 9), is_of_http=True)


def _no_claim(random: Random) -> Wrong:
    method, path, body = _choose(random)
    claim = random.choice(["-1", "ten", "9" * 5000, "1e3", "10, 11"])
    return Wrong("a claim that is none", method, path, _encode(body), REFUSED, claim=claim, is_of_http=True)


_BAD_LINES: Final[tuple[Callable[[Random], bytes], ...]] = (
    lambda _: b"{",
    lambda _: b"[]",
    lambda _: b"1 2",
    lambda _: b'{"id":1,"data":{}}',
    lambda _: b'{"id":"","data":{}}',
    lambda _: b'{"id":"x","data":[]}',
    lambda _: b'{"id":"x"}',
    lambda _: b'{"id":"x","data":{},"json":"{}"}',
    lambda _: b'{"id":"x","id":"x","data":{}}',
    lambda _: b'{"id":"x","data":{},"a/b":1}',
    lambda _: b'{"id":"x","data":{"a":NaN}}',
    lambda _: b'{"id":"x","data":{"a":"\\ud800"}}',
    lambda random: b'{"id":"x","data":{"a":' + _deep(random) + b"}}",
)


def _a_bad_line(random: Random) -> Wrong:
    """Many lines, of which one is wrong; sometimes so many that they are staged, where the gateway stages."""
    method, path, body = _choose(random, big=True)
    fields = {name: value for name, value in body.items() if name != "items"}
    long = b"x" * (2000 if random.randrange(8) == 0 else 1)
    lines = [b'{"id":"n%d","data":{"text":"%s"}}' % (place, long) for place in range(300)]
    bads = _BAD_LINES if path == JOBS else _BAD_LINES[:1] + _BAD_LINES[2:3] + _BAD_LINES[8:9] + _BAD_LINES[10:]
    number = random.randrange(300)
    lines[number] = random.choice(bads)(random)
    text = b"\n".join([_encode(fields), *lines])
    return Wrong("a bad line", method, path, text, REFUSED, "", line=number + 2, media_type=LINES_TYPE)


def _bad_fields_of_lines(random: Random) -> Wrong:
    method, path, _ = _choose(random, big=True)
    first = random.choice([b"", b"[]", b"{", b'{"type":NaN}', b'{"items":[]}', b'"x"', b"\xff"])
    text = first + b"\n" + _encode(ITEMS[0])
    return Wrong("bad fields of lines", method, path, text, REFUSED, media_type=LINES_TYPE)


def _a_large_item(random: Random) -> Wrong:
    method, path, body = _choose(random, big=True)
    body["items"] = [{"id": "big", "data": {"text": "x" * 1_100_000}}]
    return Wrong("a large item", method, path, _encode(body), frozenset({413}))


# How each is made, and how many of each in a round.
MAKERS: Final[dict[Callable[[Random], Wrong], int]] = {
    _of_another_type: 12,
    _with_an_unknown_field: 5,
    _with_a_text_that_is_no_json("deep", (_deep,)): 4,
    _with_a_text_that_is_no_json(
        "no number of JSON's",
        (
            lambda random: random.choice([b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e400", b"0x10", b"01"]),
            lambda random: b"9" * random.choice([5000, 100_000]),
            lambda _: str(math.inf).encode(),
        ),
    ): 4,
    _with_a_text_that_is_no_json(
        "half a surrogate pair",
        (lambda random: random.choice([b'"\\ud800"', b'"a\\udfffb"', b'{"\\ud83d":1}', b'["\\udc00\\ud800"]']),),
    ): 4,
    _with_a_text_that_is_no_json("a key twice, within", (lambda _: b'{"a":1,"b":{},"a":2}',)): 2,
    _with_a_text_that_is_no_json(
        "no UTF-8",
        (lambda random: random.choice([b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"']),),
    ): 4,
    _twice: 2,
    _cut: 4,
    _noise: 2,
    _no_object: 2,
    _not_json_by_its_type: 1,
    _of_an_unknown_encoding: 1,
    _bomb: 1,
    _broken_gzip: 2,
    _too_long: 1,
    _claimed: 2,
    _claimed_less: 2,
    _claimed_more: 1,
    _no_claim: 2,
    _a_bad_line: 4,
    _bad_fields_of_lines: 2,
    _a_large_item: 1,
}
