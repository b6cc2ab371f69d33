"""Every key in Redis, named once: what it holds, who writes it, and how long it lives.

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
SCHEMA: Final = 2
OLDEST_SCHEMA: Final = SCHEMA - 1

DIRTY: Final = "bj:dirty"  # zset uid → first change not yet read, ms; a hint: workers add, the operator pops
RATE_PREFIX: Final = "bj:rate:"  # hash next, held; with a TTL of its own: it goes once it says nothing any more
USER_PREFIX: Final = "bj-"  # an ACL user is named bj-<uid>


class Key(NamedTuple):
    """One key of a run."""

    name: str
    type: str
    owner: str  # the scripts that write it
    holds: str


KEYS: Final = (
    Key("meta", "hash", "all", "what the run was opened with, where it stands, what its loader and sealer said"),
    Key("counters", "hash", "all", "waiting, delayed, active, succeeded, failed, cancelled, retried_after_loss"),
    Key("usage", "hash", "exchange", "counter of a processor → sum"),
    Key("duty", "hash", "duty_*, load_*, seal_*", "who loads or seals: kind, token, worker, deadline"),
    Key("data", "hash", "load_put; exchange forgets", "field → msgpack [id, JSON, id, JSON, …]"),
    Key("left", "hash", "load_put, exchange", "field → items that are not terminal; 0: its data goes"),
    Key("pending", "list", "load_put, exchange", "chunks that wait, next first"),
    Key("suspects", "list", "exchange", "single items that may be granted only to a worker that holds nothing else"),
    Key("lease", "zset", "exchange", "chunk → deadline, ms"),
    Key("owner", "hash", "exchange", "chunk → fence/started/number of last commit/losses/[thousandths done/]worker"),
    Key("checkpoint", "hash", "exchange", "chunk → a character an item, 1: it has left the chunk"),
    Key("held", "hash", "exchange", "worker → number of its chunks, or `alone` while it holds a suspect"),
    Key("retry", "zset", "exchange", "single item → due time, ms"),
    Key("attempts", "hash", "exchange", "position → attempts spent, where there are any"),
    Key("losses", "hash", "exchange", "position → times its worker was lost, where there are any"),
    Key("dead", "hash", "exchange, abandon", "position → msgpack [id, class, message, attempts, losses, JSON, ms]"),
    Key("failed", "zset", "exchange, abandon", "position → position: the order of `dead`"),
    Key("errors", "list", "exchange, abandon", "the last 10 dead letters: msgpack [id, class, message]"),
    Key("results", "hash", "exchange; seal_part forgets", "position → msgpack [id, JSON]"),
    Key("unsealed", "list", "exchange, seal_part", "with a destination, for each commit: first-last of results/bytes"),
    Key("sealed", "hash", "seal_part, load_keep", "name of a part of results at the destination → JSON"),
    Key("parts", "hash", "exchange", "name of a part that a processor wrote → JSON"),
    Key("ledger", "hash", "ledger; exchange forgets", "position → note of the processor's, until the item ends"),
    Key("notes", "hash", "note", "name → value that all workers of the run agree on"),
    Key(
        "events",
        "stream",
        "all",
        "what watchers are told: type (a state, progress, item_failed, paused, resumed, tripped), numbers",
    ),
    Key("window", "list", "exchange", "the circuit breaker's: items ended/failed in all after each call, oldest first"),
    Key("wake", "list", "all", "tokens for workers that wait, at most 64"),
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
