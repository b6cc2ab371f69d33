"""What an owner's runs remember for each other."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from batchjob import log
from batchjob.errors import StoreError
from batchjob.store import RunStore

KEY_LIMIT: Final = 512  # characters
VALUE_LIMIT: Final = 65_536  # bytes
LONGEST_SECONDS: Final = 30 * 86_400

T = TypeVar("T")
logger = log.get(__name__)


class Cache:
    """Values that all runs of the same owner and namespace share, and nobody else: answers that cost time or money.

    A value is up to 64 KiB of bytes of your own choosing, under a key of up to 512 characters, and is there for as long
    as was said, or shorter: an owner has 32 MiB (of which each value takes 160 bytes more than it has), all owners
    together have 96, and those values make room that would have gone soonest. Put into the key whatever the value
    depends on, a version of your code included.

    It is a help and never a promise: while the store is away, nothing is found and nothing kept, and no call raises for
    it. The calls are for an `async def`; a plain `def` passes them to `Context.wait`.
    """

    def __init__(self, store: RunStore, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def get(self, key: str) -> bytes | None:
        """The value, or None. TypeError and ValueError for what can be no key."""
        _check_key(key)
        return await leniently(lambda: self._store.cache_get(self._owner, key))

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds, from 1 to 2,592,000 (30 days), in place of what was there.

        TypeError for a key that is no text or a value that is no bytes, ValueError for what is too long.
        """
        _check_key(key)
        if not isinstance(value, bytes):
            raise TypeError(f"cache: the value of {key!r} is {type(value).__name__} and no bytes: encode it")
        if len(value) > VALUE_LIMIT:
            raise ValueError(f"cache: the value of {key!r} has {len(value)} bytes, and may have {VALUE_LIMIT}")
        if not 1 <= seconds <= LONGEST_SECONDS:
            raise ValueError(f"cache: {seconds!r} seconds are not from 1 to {LONGEST_SECONDS}")
        await leniently(lambda: self._store.cache_put(self._owner, key, value, round(seconds * 1000)))


async def leniently(call: Callable[[], Awaitable[T]]) -> T | None:
    """The answer of `call`, or None where the store gives none: nobody waits for a cache."""
    try:
        return await call()
    except StoreError as error:
        logger.warning("the cache is out of reach", error=str(error))
        return None


def _check_key(key: str) -> None:
    if not isinstance(key, str):
        raise TypeError(f"cache: the key {key!r} is no text")
    if not 1 <= len(key) <= KEY_LIMIT:
        raise ValueError(f"cache: a key has 1 to {KEY_LIMIT} characters, not {len(key)}: hash what is longer")
