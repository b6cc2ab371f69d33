"""Comparing what the watch told us with a list of all names, now and then, and when kopf begins to watch anew.

kopf never reports what was deleted while its watch was broken (its trap T1), and an operator that trusts a watch
alone believes in ghosts. Only metadata is listed, and only what tells an object from another is kept of it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from batchjob import log
from batchjob.controller.informer import BARRED_SECONDS, ObjectKey
from batchjob.controller.known import KnownBatchJobs
from batchjob.errors import ApiUnavailable, Forbidden, KubernetesError, NotFound
from batchjob.kube import BATCH_JOBS, Kube, Listing

SETTLE_SECONDS: Final = 2.0  # a list comes as many events
OLDER_LISTS: Final = 3  # one may be an answer that was under way for long
FEW: Final = 20  # BatchJobs that are quickly read one by one
COMPARED: Final = ("namespace", "name", "uid", "generation")

logger = log.get(__name__)


class HistoryLost(Exception):
    """The API server is at an older version than one that it told us: every copy and every watch of ours is wrong.

    It ends the process. Versions that we have are not reached for hours, and until then no news would be taken for any.
    """


class Relist:
    """The comparison, for the namespaces we serve ([None]: all)."""

    def __init__(self, kube: Kube, namespaces: Iterable[str | None], known: KnownBatchJobs) -> None:
        self._kube = kube
        self._namespaces = list(namespaces)
        self._known = known
        self._asked = asyncio.Event()
        self._older = 0  # lists in a row that were older than what we knew
        self._barred: dict[str, float] = {}  # namespaces that we may not read, and since when

    async def compare(self) -> tuple[set[ObjectKey], bool]:
        """Bring what we know up to date; returns the keys to look at, and whether everything there is could be read.

        A namespace that has long been forbidden is not waited for.

        Errors: KubernetesError, and then nothing is forgotten: what is gone is told once, so whatever may fail comes
        before, or fails alone.
        """
        listings, barred = await self._list()
        complete = not any(time.monotonic() - self._barred[namespace] <= BARRED_SECONDS for namespace in barred)
        keys: set[ObjectKey] = set()
        for namespace, listing in listings.items():
            gone, unknown = self._known.compare(
                [item["metadata"] for item in listing.items], int(listing.resource_version), namespace
            )
            keys |= gone
            for key in unknown:
                try:
                    keys |= await self._read(key)
                except KubernetesError as error:
                    complete = False
                    logger.warning("a BatchJob cannot be read", job="/".join(key), error=str(error))
        if keys:
            logger.info("the watch had missed changes", batchjobs=len(keys))
        return keys, complete

    async def complete(self) -> None:
        """Wait until every BatchJob is known: the watch tells of those of its first list one by one."""
        while True:
            try:
                if await self._count_unknown() <= FEW and (await self.compare())[1]:
                    return
            except KubernetesError as error:
                logger.warning("names cannot be compared", error=str(error))
            await asyncio.sleep(SETTLE_SECONDS / 4)

    async def _count_unknown(self) -> int:
        listings, _ = await self._list()
        names = ([item["metadata"] for item in listing.items] for listing in listings.values())
        return sum(map(self._known.count_unknown, names))

    async def _list(self) -> tuple[dict[str | None, Listing], set[str]]:
        """All names by namespace, and the namespaces where we may not list them: nothing is known of those.

        One that was deleted with its RoleBinding is forbidden too, and must not keep us from seeing to the others.
        """
        listings: dict[str | None, Listing] = {}
        barred: set[str] = set()
        known_at = self._known.version
        for namespace in self._namespaces:
            try:
                listings[namespace] = await self._kube.list(BATCH_JOBS, namespace, names_only=True, shorten=shorten)
            except Forbidden as error:
                if namespace is None:
                    raise
                barred.add(namespace)
                self._barred.setdefault(namespace, time.monotonic())
                logger.warning("a namespace that we serve cannot be read", namespace=namespace, error=str(error))
        self._doubt(any(int(listing.resource_version) < known_at for listing in listings.values()))
        self._barred = {namespace: since for namespace, since in self._barred.items() if namespace in barred}
        return listings, barred

    def _doubt(self, is_older: bool) -> None:
        """A list that is older than what was known when it was asked for is worth nothing; some in a row say why."""
        self._older = self._older + 1 if is_older else 0
        if self._older >= OLDER_LISTS:
            raise HistoryLost("etcd was put back to an older backup: beginning anew, as nothing we know can be trusted")
        if is_older:
            self.ask()
            raise ApiUnavailable("a list is older than what the API server told before")

    async def keep_comparing(self, every_seconds: float, tell: Callable[[ObjectKey], None]) -> None:
        """Compare for ever: now and then, and soon after `ask`."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every_seconds):
                    await self._asked.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._asked.clear()
            try:
                keys, _ = await self.compare()
                for key in keys:
                    tell(key)
            except HistoryLost:
                raise
            except Exception as error:
                told = isinstance(error, KubernetesError)
                logger.warning("names cannot be compared", error=str(error), exc_info=None if told else error)

    def ask(self) -> None:
        """The watch was begun anew: compare soon."""
        self._asked.set()

    def serves(self, namespace: str) -> bool:
        """Whether BatchJobs of this namespace are ours to run."""
        return None in self._namespaces or namespace in self._namespaces

    async def uids(self) -> tuple[set[str], set[str]]:
        """The uid of every BatchJob there is, and the namespaces of which we may not know it. KubernetesError."""
        listings, barred = await self._list()
        return {item["metadata"]["uid"] for listing in listings.values() for item in listing.items}, barred

    async def _read(self, key: ObjectKey) -> set[ObjectKey]:
        try:
            return self._known.seen(await self._kube.get(BATCH_JOBS, *key))
        except NotFound:
            return set()  # deleted since the list was taken


def shorten(item: dict[str, Any]) -> dict[str, Any]:
    """What is compared of an object: its metadata with `managedFields` takes 20 KiB as Python has it."""
    metadata = item["metadata"]
    return {"metadata": {name: metadata[name] for name in COMPARED if name in metadata}}
