"""Ledgers: what a neighbour did, one JSON row an effect, in a file that only grows.

A ledger stands outside the system under test, so that "each item once" can be judged without asking that system. A
row is one unbuffered write in append mode: it is there when the answer leaves, and survives a kill of this process.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any


class Ledger:
    """One append-only file of rows; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._next = sum(1 for _ in self.rows())

    def append(self, *, time: float, item: str, status: int, **fields: Any) -> None:
        """Add a row. `time`: Unix seconds when the request arrived; `item`: what repeats are judged by."""
        with self._lock:
            row = {"sequence": self._next, "time": round(time, 3), "item": item, "status": status, **fields}
            self._file.write(json.dumps(row).encode() + b"\n")
            self._next += 1

    def rows(self, after: int = -1) -> Iterator[bytes]:
        """Rows with a sequence above `after`, each one line of JSON with its line feed; the first sequence is 0."""
        with self._path.open("rb") as file:
            yield from islice(file, after + 1, None)

    def row(self, sequence: int) -> dict[str, Any] | None:
        """One row, or None where there is none."""
        line = next(self.rows(sequence - 1), None) if sequence >= 0 else None
        return json.loads(line) if line else None

    def reset(self) -> None:
        """Forget all rows: a new experiment begins."""
        with self._lock:
            self._file.truncate(0)
            self._next = 0

    def close(self) -> None:
        """Let go of the file; in a process of its own its end does that."""
        self._file.close()

    def summary(self) -> dict[str, Any]:
        """Rows by status, and of the successes without a fault: how many, of how many items, how many repeats."""
        statuses: Counter[int] = Counter()
        items: Counter[str] = Counter()
        for row in map(json.loads, self.rows()):
            statuses[row["status"]] += 1
            if row["status"] // 100 == 2 and "fault" not in row:
                items[row["item"]] += 1
        count = items.total()
        return {
            "rows": statuses.total(),
            "by_status": statuses,
            "count": count,
            "distinct_items": len(items),
            "repeats": count - len(items),
        }
