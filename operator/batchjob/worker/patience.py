"""Waiting for the store: a restart of it must cost no worker, and no outcome that a worker holds in its hands.

And for how long a source or a destination is waited for.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol, TypeVar

from batchjob import log
from batchjob.errors import ScriptsUnknown, StoreError, StoreNotReady, StoreUnavailable

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 2.0
# The operator loads the scripts before it makes our user, and again within seconds where they were flushed: a user
# that may sign in and has no scripts for longer has those of another version.
SCRIPTS_SECONDS: Final = 30.0
# A source or a destination that may come back is tried for at least so long: an outage of minutes must not end a run,
# and a typing error in a host must not look like one for ever. Counted by each worker from its own first failure.
PATIENCE_SECONDS: Final = 600.0

T = TypeVar("T")
logger = log.get(__name__)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of `call`, tried again with growing waits while the store is away or not prepared for us yet.

    Every call of the store may be repeated. Not ready means that the operator has yet to make our user or load the
    scripts, at the start or after a restart of the server: to be waited for, never a reason to end. Raises StoreError
    where the scripts that it loads are not ours.
    """
    wait, lacking_since = FIRST_WAIT_SECONDS, None
    while True:
        try:
            return await call()
        except (StoreUnavailable, StoreNotReady) as error:
            logger.warning("waiting for the store", error=str(error), seconds=wait)
            lacking_since = (lacking_since or time.monotonic()) if isinstance(error, ScriptsUnknown) else None
            if lacking_since and time.monotonic() - lacking_since > SCRIPTS_SECONDS:
                raise StoreError(
                    "the operator has not loaded the scripts of this worker image: the image is of another version. "
                    "Build it on the worker image of the operator's version"
                ) from error
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


class Lease(Protocol):
    """A lease on a duty."""

    async def renew(self) -> None:
        """Keep it."""

    async def release(self) -> None:
        """Let another worker have it."""


@contextlib.asynccontextmanager
async def kept(lease: Lease, every_seconds: float) -> AsyncIterator[None]:
    """Renews a lease in the background while the work under it is slow, and gives it back where the work breaks off.

    A renewal that fails ends nothing here: the next call under the lease tells what is wrong.
    """
    keeper = asyncio.create_task(_renew(lease, every_seconds))
    try:
        yield
    except BaseException:
        with contextlib.suppress(StoreError):  # lost already, or the store is away: it runs out by itself
            await lease.release()
        raise
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


async def _renew(lease: Lease, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await lease.renew()
        except StoreError as error:
            logger.warning("a lease could not be renewed", error=str(error))
