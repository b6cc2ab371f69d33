"""Our Lua scripts: read from the package, joined with what they share, named by their SHA-1.

The SHA is computed here, so a worker calls by it without ever being allowed to load a script: EVAL or SCRIPT LOAD in
a tenant's hands would let an endless loop stop the server for everybody. The operator loads them.
"""

from hashlib import sha1
from importlib.resources import files
from typing import Final, NamedTuple

from batchjob.core.rows import FACETS
from batchjob.store import keys


class Script(NamedTuple):
    """One script as the server knows it."""

    name: str
    source: str
    sha: str


def _read(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _named(name: str, source: str) -> Script:
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def _script(name: str, *shared: str) -> Script:
    """A script on a run: it sees all keys of that run by name."""
    table = ", ".join(f"{key} = KEYS[{index}]" for index, key in enumerate(keys.NAMES, start=1))
    numbers = {name: getattr(keys, name) for name in ("SCHEMA", "OLDEST_SCHEMA", "CHUNK_LIMIT")}
    constants = "".join(f"local {name} = {number}\n" for name, number in numbers.items())
    head = f"{constants}local KEY = {{{table}}}\n"
    source = head + "\n".join(_read(part) for part in ("prelude", *shared, name))
    return _named(name, source)


def _facets() -> str:
    """What a row is found by, in the order of its fields."""
    return f"local FACETS = {{{', '.join(map(repr, FACETS))}}}\n"


ABANDON: Final = _script("abandon", "items")
BREAKER: Final = _script("breaker")
CACHE_GET: Final = _named("cache_get", _read("cache_get"))
CACHE_PUT: Final = _named("cache_put", _read("cache_drop") + _read("cache_put"))
CACHE_TRIM: Final = _named("cache_trim", _read("cache_drop") + _read("cache_trim"))
CONCLUDE: Final = _script("conclude")
DUTY_CLAIM: Final = _script("duty_claim", "duties")
DUTY_FAIL: Final = _script("duty_fail", "duties")
DUTY_KEEP: Final = _script("duty_keep", "duties")
DUTY_RELEASE: Final = _script("duty_release", "duties")
EXCHANGE: Final = _script("exchange", "items", "breaker_watch", "progress")
FINISHED: Final = _script("finished", "items")
HISTORY_PUT: Final = _named("history_put", _read("history_put"))
INDEX_PUT: Final = _named("index_put", _facets() + _read("index_put"))
INDEX_SEARCH: Final = _named("index_search", _read("index_search"))
LEDGER: Final = _script("ledger")
LIVE_PUT: Final = _named("live_put", _read("live_put"))
LOAD_FINISH: Final = _script("load_finish", "duties")
LOAD_KEEP: Final = _script("load_keep", "duties")
LOAD_PUT: Final = _script("load_put", "duties")
NOTE: Final = _script("note")
OPEN_RUN: Final = _script("open_run")
PAUSE: Final = _script("pause")
RATE_HOLD: Final = _named("rate_hold", _read("rate_hold"))
RATE_TAKE: Final = _named("rate_take", _read("rate_take"))
SEAL_FINISH: Final = _script("seal_finish", "duties")
SEAL_PART: Final = _script("seal_part", "duties")
SNAPSHOT: Final = _script("snapshot")
TALLY: Final = _script("tally")

ALL: Final = (
    ABANDON, BREAKER, CACHE_GET, CACHE_PUT, CACHE_TRIM, CONCLUDE, DUTY_CLAIM, DUTY_FAIL, DUTY_KEEP, DUTY_RELEASE,
    EXCHANGE, FINISHED, HISTORY_PUT, INDEX_PUT, INDEX_SEARCH, LEDGER, LIVE_PUT, LOAD_FINISH, LOAD_KEEP, LOAD_PUT, NOTE,
    OPEN_RUN, PAUSE, RATE_HOLD, RATE_TAKE, SEAL_FINISH, SEAL_PART, SNAPSHOT, TALLY,
)  # fmt: skip
