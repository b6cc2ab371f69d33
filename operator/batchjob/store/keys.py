"""Every key in Redis, named once: what it holds and how long it lives. Who writes it, the head of each script says.

The keys of a run share the hash tag `{bj:<uid>}`, so that a script may touch all of them in a cluster too. None of
them has a TTL: they live as long as the run and go with it, in one UNLINK (`Store.delete_run`); a key that expired
by itself would lose items. Scripts get all of them as KEYS in this order and see them by name in the table `KEY`.

Words: a *field* is a loaded group of items, named `<first position>+<number of items>`; a *chunk* is a part of a
field that moves as one between pending and a lease, named `<field>/<first>-<last>`. Items are packed once, by field;
splitting, retrying and losing only make other chunks of the same field.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from batchjob.errors import ConfigurationError

CHUNK_LIMIT: Final = 10_000  # items: the most rows of an exported file; bounds what one script call can move
# Version of this layout; a script refuses a run of a newer one, and of one that is older than the last: so an upgrade
# step by step loses no run. 2: `early`, `loaded` and `loaded_mark` in meta; a loader of 1 would discard what is done.
# No image of 1 was ever published: it is read so that the way of an upgrade is walked and tested before the first is.
SCHEMA: Final = 2
OLDEST_SCHEMA: Final = SCHEMA - 1

EVERY: Final = "*bj:*"  # what the names of all our keys match
DIRTY: Final = "bj:dirty"  # zset uid → first change not yet read, ms; a hint: workers add, the operator pops
RATE_PREFIX: Final = "bj:rate:"  # hash next, held; with a TTL of its own: it goes once it says nothing any more
CACHE_PREFIX: Final = "bj:cache:"  # of an owner: entries, due, size (cache_put.lua); all of it has a TTL
HISTORY_PREFIX: Final = "bj:history:"  # of runs that have ended: history.py; all of it has a TTL
# Of all BatchJobs, for lists and searches: index.py. No TTL: the operator keeps it, and makes it again once it is lost.
# Another layout needs another prefix.
INDEX_PREFIX: Final = "bj:index:{jobs}:"
LIMIT_PREFIX: Final = "bj:limit:"  # string: requests of a user in this window; with a TTL: it goes with the window
LIVE_PREFIX: Final = "bj:live:{live}:"  # live.py; all of it has a TTL, the operator writes it, gateways read it
LIVE_BELL: Final = f"{LIVE_PREFIX}bell"  # stream owner: something was told of a BatchJob of this one
AUDIT_PREFIX: Final = (
    "bj:audit:"  # streams signed-in, strangers: audit.py; both have a TTL; gateways write and read them
)
USER_PREFIX: Final = "bj-"  # an ACL user is named bj-<uid>


class Key(NamedTuple):
    """One key of a run."""

    name: str
    type: str
    holds: str


KEYS: Final = (
    Key("meta", "hash", "what the run was opened with, where it stands, what its loader and sealer said"),
    Key("counters", "hash", "waiting, delayed, active, succeeded, failed, cancelled, retried_after_loss"),
    Key("usage", "hash", "counter of a processor → sum"),
    Key(
        "tally", "hash", "retried, failed:<class>, took:<bucket of core.durations> → number: for the record of the run"
    ),
    Key("duty", "hash", "who loads or seals: kind, token, worker, deadline"),
    Key("data", "hash", "field → msgpack [id, JSON, id, JSON, …]"),
    Key("left", "hash", "field → items that are not terminal; 0: its data goes"),
    Key("pending", "list", "chunks that wait, next first"),
    Key("suspects", "list", "single items that may be granted only to a worker that holds nothing else"),
    Key("lease", "zset", "chunk → deadline, ms"),
    Key("owner", "hash", "chunk → fence/started/number of last commit/losses/[thousandths done/]worker"),
    Key("checkpoint", "hash", "chunk → a character an item, 1: it has left the chunk"),
    Key("held", "hash", "worker → number of its chunks, or `alone` while it holds a suspect"),
    Key("retry", "zset", "single item → due time, ms"),
    Key("attempts", "hash", "position → attempts spent, where there are any"),
    Key("losses", "hash", "position → times its worker was lost, where there are any"),
    Key("dead", "hash", "position → msgpack [id, class, message, attempts, losses, JSON, ms]"),
    Key("failed", "zset", "position → position: the order of `dead`"),
    Key("errors", "list", "the last 10 dead letters: msgpack [id, class, message]"),
    Key("results", "hash", "position → msgpack [id, JSON]"),
    Key("unsealed", "list", "with a destination, for each commit: first-last of results/bytes"),
    Key("sealed", "hash", "name of a part of results at the destination → JSON"),
    Key("parts", "hash", "name of a part that a processor wrote → JSON"),
    Key("ledger", "hash", "position → note of the processor's, until the item ends"),
    Key("notes", "hash", "name → value that all workers of the run agree on"),
    Key(
        "events",
        "stream",
        "what watchers are told: type (a state, progress, item_failed, paused, resumed, tripped), numbers",
    ),
    Key("window", "list", "the circuit breaker's: items ended/failed in all after each call, oldest first"),
    Key("wake", "list", "tokens for workers that wait, at most 64"),
)
NAMES: Final = tuple(key.name for key in KEYS)


def run_key(uid: str, name: str) -> str:
    """The key `name` of a run."""
    return f"{{bj:{uid}}}:{name}"


@lru_cache(maxsize=1024)
def run_keys(uid: str) -> tuple[bytes, ...]:
    """All keys of a run, in the order of KEYS; remembered, since every call of a worker names them."""
    return tuple(run_key(uid, name).encode() for name in NAMES)


def rate_key(name: str) -> str:
    """The key of a rate, by the name that `core.rates` gives it."""
    return RATE_PREFIX + name


def limit_key(name: str) -> str:
    """The key of a limit of the HTTP API, by the name that the gateway gives it."""
    return LIMIT_PREFIX + name


def audit_key(*, signed_in: bool) -> str:
    """The stream of what those did who had signed in, or of what others tried."""
    return AUDIT_PREFIX + ("signed-in" if signed_in else "strangers")


def cache_keys(owner: str) -> tuple[str, str, str]:
    """The keys of a cache, by the name that `core.cache` gives its owner: entries, due, size."""
    tag = f"{CACHE_PREFIX}{{{owner}}}:"
    return f"{tag}entries", f"{tag}due", f"{tag}size"


def cache_of(key: bytes) -> str | None:
    """The name of the cache to which a key belongs, if it is one of a cache."""
    name = key.decode(errors="replace").removeprefix(f"{CACHE_PREFIX}{{").partition("}")[0]
    return name if key.decode(errors="replace") in cache_keys(name) else None


HISTORY_TOTALS: Final = f"{HISTORY_PREFIX}{{runs}}:totals"  # beside them: how many runs ended, by queue and phase


def history_keys(owner: str) -> tuple[str, str, str]:
    """The keys of the records: records, ended, and ended of an owner by the name that `core.records` gives it."""
    tag = f"{HISTORY_PREFIX}{{runs}}:"
    return f"{tag}records", f"{tag}ended", f"{tag}of:{owner}"


class IndexKeys(NamedTuple):
    """The keys of the index, which the operator writes and no worker reaches.

    Beside them: zset by:<facet>:<value> → ids of the rows that have it (`core.rows.FACETS`), and hash counts:<owner>,
    as `counts`, of the BatchJobs of one owner.
    """

    rows: str  # hash id → name, NUL, msgpack of the row
    all: str  # zset of ids, all of one score: in the order of their bytes, which is that of their making
    names: str  # zset of name, NUL, id
    counts: str  # hash <queue> <phase> → number of BatchJobs
    mark: str  # string: who keeps the index, and how often it was changed since; another one means that some is lost


INDEX: Final = IndexKeys(*(f"{INDEX_PREFIX}{name}" for name in IndexKeys._fields))


def index_set(facet: str, value: str) -> str:
    """The key of the ids of a facet."""
    return f"{INDEX_PREFIX}by:{facet}:{value}"


def index_counts(owner: str | None) -> str:
    """The key of the counts of all BatchJobs, or of an owner's."""
    return INDEX.counts if owner is None else f"{INDEX.counts}:{owner}"


def live_told_key(uid: str) -> str:
    """What was told of a BatchJob: a string, JSON of core.events.Told."""
    return f"{LIVE_PREFIX}told:{uid}"


def live_events_key(owner: str) -> str:
    """The events of an owner by the name that `core.records` gives it: a stream of job, type, time, seq, data."""
    return f"{LIVE_PREFIX}of:{owner}"


def is_of_run(key: bytes) -> bool:
    """Whether a key belongs to a run."""
    return key.startswith(b"{bj:") and b"}:" in key


def uid_of(key: bytes) -> str:
    """The run that a key belongs to."""
    return key[len("{bj:") : key.index(b"}")].decode()


def user_name(uid: str) -> str:
    """The ACL user of a run."""
    return f"{USER_PREFIX}{uid}"


def checked_uid(uid: str) -> str:
    """`uid`, once it is known to be harmless in a key pattern: `*` would open every run to one user."""
    if not uid or not uid.isascii() or not uid.replace("-", "").isalnum():
        raise ConfigurationError(f"{uid!r} is not a uid: letters, digits and hyphens only")
    return uid
