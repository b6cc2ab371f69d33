"""One Redis user a run: a worker in a tenant's namespace can reach its own run and nothing else. One for the gateway.

Key patterns and commands are enforced inside scripts too, so the list names what the workers' scripts use. EVALSHA
is there, EVAL and SCRIPT are not. `bj:dirty` is shared on purpose, for ZADD alone: it is a hint, and a forged entry
costs one read.
"""

from collections.abc import Iterable
from typing import Final

from batchjob.store import keys

COMMANDS: Final = (
    # the connection
    "select", "client|setname",
    # in a cluster: which server has what
    "cluster|slots",
    # called directly
    "evalsha", "blpop", "hgetall",
    # called by the scripts, some directly too
    "time", "del", "unlink",
    "hget", "hmget", "hset", "hsetnx", "hdel", "hincrby", "hlen",
    "llen", "lpop", "lpush", "lrange", "rpush", "ltrim",
    "zadd", "zrem", "zrange", "zscore",
    "xadd",
    "pexpire",
)  # fmt: skip


def user_rules(uid: str, password: str, reads: str | None, rates: Iterable[str], cache: str | None) -> list[str]:
    """The rules of ACL SETUSER for a run, from nothing.

    `reads`: uid of a run whose keys it may read; `rates`: those that it shares with others; `cache`: its owner's.
    """
    rules = ["reset", "on", f">{password}", f"~{keys.run_key(keys.checked_uid(uid), '*')}"]
    if reads is not None:
        rules.append(f"%R~{keys.run_key(keys.checked_uid(reads), '*')}")
    shared = [f"~{keys.rate_key(keys.checked_uid(rate))}" for rate in rates]
    if cache is not None:
        shared += (f"~{key}" for key in keys.cache_keys(keys.checked_uid(cache)))
    return [*rules, *shared, *(f"+{command}" for command in COMMANDS), f"(~{keys.DIRTY} +zadd)"]


def gateway_rules() -> list[str]:
    """The rules of ACL SETUSER for a gateway's own user, but its password: it changes no run, no index and no user.

    It counts requests, keeps the audit trail, searches the index by a script, and reads runs, records and live events.
    """
    read = " ".join(f"%R~{prefix}*" for prefix in (keys.run_key("*", ""), keys.HISTORY_PREFIX, keys.LIVE_PREFIX))
    return [
        "reset", "on", "+select", "+client|setname", "+cluster|slots", "+script|load",
        f"(~{keys.LIMIT_PREFIX}* +incr +expire +pttl)",
        f"(~{keys.AUDIT_PREFIX}* +xadd +xtrim +pexpire +xrevrange)",
        f"(~{keys.INDEX_PREFIX}* +evalsha +hget +hmget +zrange +zscore +zlexcount)",
        f"({read} +hget +hmget +hgetall +zrange +xread +xrange +xrevrange)",
    ]  # fmt: skip
