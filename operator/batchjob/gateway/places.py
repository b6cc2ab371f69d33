"""Places for what takes some memory for as long as a client takes: so many at once, and half of them for one user."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from batchjob.gateway.problems import UNAVAILABLE, Problem


class Places:
    """So many; who finds none is told to come again (503). `what` they are for, as in "Other uploads"."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._users: Counter[str] = Counter()

    @contextmanager
    def take(self, user: str) -> Iterator[None]:
        """One of them, while this lasts."""
        if self._users.total() >= self._most or self._users[user] >= max(1, self._most // 2):
            detail = f"Other {self._what} are under way here: send it again later"
            raise Problem(UNAVAILABLE, detail, headers={"Retry-After": "10"})
        self._users[user] += 1
        try:
            yield
        finally:
            self._users[user] -= 1
            self._users += Counter()  # drops who has none
