"""What must be true of a run in Redis at every moment, read key by key, past the scripts that keep it so."""

from collections import Counter
from typing import Any

from redis.asyncio import Redis

from batchjob.store.keys import run_key


def _range(chunk: str) -> range:
    first, _, last = chunk.rpartition("/")[2].partition("-")
    return range(int(first), int(last) + 1)


class Oracle:
    """Looks at one run with plain commands."""

    def __init__(self, client: Redis, uid: str) -> None:
        self.client = client
        self.uid = uid

    async def read(self, command: str, name: str, *arguments: Any) -> Any:
        """One command on one key of the run, answers as text."""
        answer = await self.client.execute_command(command, run_key(self.uid, name), *arguments)  # type: ignore[no-untyped-call]
        if isinstance(answer, dict):
            return {key.decode(): value.decode() for key, value in answer.items()}
        if isinstance(answer, list):
            return [entry.decode() for entry in answer]
        return answer.decode() if isinstance(answer, bytes) else answer

    async def places(self) -> dict[str, list[int]]:
        """Where each item that is not terminal is, and the dead letters."""
        queued = await self.read("LRANGE", "pending", 0, -1) + await self.read("LRANGE", "suspects", 0, -1)
        marks = await self.read("HGETALL", "checkpoint")
        leased = await self.read("ZRANGE", "lease", 0, -1)
        return {
            "waiting": [position for chunk in queued for position in _range(chunk)],
            "delayed": [position for chunk in await self.read("ZRANGE", "retry", 0, -1) for position in _range(chunk)],
            "active": [
                position
                for chunk in leased
                for index, position in enumerate(_range(chunk))
                if marks.get(chunk, "")[index : index + 1] != "1"
            ],
            "failed": [int(position) for position in await self.read("ZRANGE", "failed", 0, -1)],
        }

    async def check(self) -> dict[str, int]:
        """Assert every invariant of a loaded run; returns its counts."""
        meta = await self.read("HGETALL", "meta")
        counters = {name: int(n) for name, n in (await self.read("HGETALL", "counters")).items()}
        states = ("waiting", "delayed", "active", "succeeded", "failed", "cancelled")
        counts = {name: counters.get(name, 0) for name in states}
        assert sum(counts.values()) == int(meta["total"]), f"counts do not conserve: {counts} of {meta['total']}"
        assert min(counts.values()) >= 0, f"a count is negative: {counts}"
        places = await self.places()
        twice = [n for n, times in Counter(p for found in places.values() for p in found).items() if times > 1]
        assert not twice, f"items {twice} are in two places: {places}"
        for name, found in places.items():
            assert len(found) == counts[name], f"{name}: counted {counts[name]}, found {sorted(found)}"
        await self._check_leases(places)
        await self._check_losses()
        return counts

    async def _check_losses(self) -> None:
        losses = await self.read("HGETALL", "losses")
        for name in ("pending", "suspects"):
            for chunk in await self.read("LRANGE", name, 0, -1):
                lives = {losses.get(str(position), "0") for position in _range(chunk)}
                assert len(lives) == 1, f"items of {chunk} were lost {lives} times"

    async def _check_leases(self, places: dict[str, list[int]]) -> None:
        leased = set(await self.read("ZRANGE", "lease", 0, -1))
        owners = await self.read("HGETALL", "owner")
        assert set(owners) == leased, f"leases {leased} and tokens {set(owners)} differ"
        holders = Counter(owner.split("/", 4)[4] for owner in owners.values())
        held = await self.read("HGETALL", "held")
        expected = {
            worker: "alone" if held.get(worker) == "alone" and n == 1 else str(n) for worker, n in holders.items()
        }
        assert held == expected, f"held says {held}, the tokens {expected}"
        fields = {chunk.partition("/")[0] for chunk in leased}
        open_positions = {p for name in ("waiting", "delayed", "active") for p in places[name]}
        left = {field: int(n) for field, n in (await self.read("HGETALL", "left")).items()}
        assert sum(left.values()) == len(open_positions), f"left {left}, open {sorted(open_positions)}"
        assert fields <= set(left) == set(await self.read("HKEYS", "data"))
