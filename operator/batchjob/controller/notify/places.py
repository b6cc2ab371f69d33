"""So many looks at a time for each namespace: who is slow holds up its own.

A key that comes when the places of its namespace are taken is put aside, and holds no worker meanwhile; it has the
next place that is given back.
"""

from collections import Counter

from batchjob.controller.informer import ObjectKey


class Places:
    """Places by namespace."""

    def __init__(self, most: int) -> None:
        """`most`: of one namespace at a time."""
        self._most = most
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, dict[ObjectKey, None]] = {}

    def take(self, key: ObjectKey) -> bool:
        """Take a place; False where none is free: then the key waits."""
        namespace, _ = key
        if self._taken[namespace] >= self._most:
            self._waiting.setdefault(namespace, {})[key] = None
            return False
        self._taken[namespace] += 1
        return True

    def give_back(self, key: ObjectKey) -> ObjectKey | None:
        """Give the place back; returns the key that waited longest for it."""
        namespace, _ = key
        self._taken[namespace] -= 1
        if not self._taken[namespace]:
            del self._taken[namespace]
        waiting = self._waiting.get(namespace, {})
        following = next(iter(waiting), None)
        if following:
            del waiting[following]
        if not waiting:
            self._waiting.pop(namespace, None)
        return following
