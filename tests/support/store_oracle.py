"""What must be true of a run in Redis at every moment, read key by key, past the scripts that keep it so."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from batchjob.core.ranges import Ranges
from batchjob.store.keys import run_key

COUNTED: Final = ("waiting", "delayed", "active", "succeeded", "failed", "cancelled")
READS: Final[dict[str, Sequence[Any]]] = {
    **dict.fromkeys(
        ("meta", "counters", "checkpoint", "owner", "held", "left", "losses", "results", "sealed", "dead"), ("HGETALL",)
    ),
    "usage": ("HGETALL",),
    "data": ("HKEYS",),
    **dict.fromkeys(("pending", "suspects", "unsealed"), ("LRANGE", 0, -1)),
    **dict.fromkeys(("lease", "retry", "failed"), ("ZRANGE", 0, -1)),
}


def _text(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {_text(key): _text(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [_text(entry) for entry in answer]
    return answer.decode(errors="backslashreplace") if isinstance(answer, bytes) else answer


def chunk_range(chunk: str) -> range:
    """The positions of a chunk."""
    first, _, last = chunk.rpartition("/")[2].partition("-")
    return range(int(first), int(last) + 1)


class Oracle:
    """Looks at one run with plain commands."""

    def __init__(self, client: Redis, uid: str) -> None:
        self.client = client
        self.uid = uid

    async def read(self, command: str, name: str, *arguments: Any) -> Any:
        """One command on one key of the run, the answer as text."""
        key = run_key(self.uid, name)
        return _text(await self.client.execute_command(command, key, *arguments))  # type: ignore[no-untyped-call]

    async def look(self) -> dict[str, Any]:
        """All that the invariants speak of, at one moment."""
        pipeline = self.client.pipeline(transaction=True)
        for name, (command, *arguments) in READS.items():
            pipeline.execute_command(command, run_key(self.uid, name), *arguments)
        answers = dict(zip(READS, await pipeline.execute(), strict=True))
        packed = [msgspec.msgpack.decode(result, type=tuple[str, str]) for result in answers["results"].values()]
        size = sum(len(text.encode()) for both in packed for text in both)
        seen: dict[str, Any] = _text(answers)
        return seen | {"size of results": size}

    async def check(self) -> dict[str, int]:
        """Assert every invariant of a run whose items may be claimed; returns its counts."""
        return check(await self.look())


def check(seen: dict[str, Any]) -> dict[str, int]:
    """Assert every invariant of what was seen of a run whose items may be claimed; returns its counts."""
    total = int(seen["meta"].get("total", seen["meta"].get("loaded", 0)))
    counts = {name: int(seen["counters"].get(name, 0)) for name in COUNTED}
    assert sum(counts.values()) == total, f"counts do not conserve: {counts} of {total}"
    assert min(counts.values()) >= 0, f"a count is negative: {counts}"
    places = find(seen)
    twice = [n for n, times in Counter(p for found in places.values() for p in found).items() if times > 1]
    assert not twice, f"items {twice} are in two places: {places}"
    for name, found in places.items():
        assert len(found) == counts[name], f"{name}: counted {counts[name]}, found {sorted(found)}"
    _check_leases(seen, len(places["waiting"] + places["delayed"] + places["active"]))
    for chunk in seen["pending"] + seen["suspects"]:
        lives = {seen["losses"].get(str(position), "0") for position in chunk_range(chunk)}
        assert len(lives) == 1, f"items of {chunk} were lost {lives} times"
    _check_results(seen)
    return counts


def _check_results(seen: dict[str, Any]) -> None:
    here, meta = {int(position) for position in seen["results"]}, seen["meta"]
    assert int(meta.get("result_bytes", 0)) == seen["size of results"], "the bytes of results are counted wrong"
    parts = [Ranges(json.loads(part)["positions"]) for part in seen["sealed"].values()]
    away = Counter(position for part in parts for first, last in part for position in range(first, last + 1))
    assert set(away.values()) <= {1}, f"a result is in two parts: {away}"
    assert not here & set(away), f"results {here & set(away)} are here and in a part"
    if meta["destination"] == "1" and meta["state"] in ("open", "sealing"):
        bounds = (entry.partition("/")[0].split("-") for entry in seen["unsealed"])
        listed = {position for first, last in bounds for position in range(int(first), int(last) + 1)}
        assert here <= listed, f"nobody will seal {here - listed} before the end"


def find(seen: dict[str, Any]) -> dict[str, list[int]]:
    """Where each item that is not terminal is, and the dead letters."""
    return {
        "waiting": [position for chunk in seen["pending"] + seen["suspects"] for position in chunk_range(chunk)],
        "delayed": [position for chunk in seen["retry"] for position in chunk_range(chunk)],
        "active": [
            position
            for chunk in seen["lease"]
            for index, position in enumerate(chunk_range(chunk))
            if seen["checkpoint"].get(chunk, "")[index : index + 1] != "1"
        ],
        "failed": [int(position) for position in seen["failed"]],
    }


def _check_leases(seen: dict[str, Any], open_items: int) -> None:
    owners = seen["owner"]
    assert set(owners) == set(seen["lease"]), f"leases {seen['lease']} and tokens {set(owners)} differ"
    holders = Counter(owner.rpartition("/")[2] for owner in owners.values())
    expected = {worker: str(n) for worker, n in holders.items()}
    held = {worker: "1" if n == "alone" else n for worker, n in seen["held"].items()}
    assert held == expected, f"held says {held}, the tokens {expected}"
    told = sum(int((owner.split("/")[4:-1] or ["0"])[0]) for owner in owners.values())
    assert int(seen["meta"].get("partial", 0)) == told, "the progress of items in hand is counted wrong"
    left = {field: int(n) for field, n in seen["left"].items()}
    assert sum(left.values()) == open_items, f"left {left}, open {open_items}"
    assert {chunk.partition("/")[0] for chunk in owners} <= set(left) == set(seen["data"])
