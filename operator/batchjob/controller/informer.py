"""Our own informer: a copy of all objects of a kind, kept by list → diff → watch.

A list replaces the copy, and the difference (also what is gone) is told to the listener; then the watch goes on from
the list's version. A broken or silent stream costs a new watch, a version too old a new list; nothing ends it but its
own cancellation. What a write of ours returned may be put in at once (`remember`), so that the next look does not act
on an older picture than its own deed.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from batchjob import log
from batchjob.errors import ApiUnavailable, Forbidden, Gone, KubernetesError
from batchjob.kube import Kube, Resource, Shorten

ObjectKey = tuple[str, str]  # namespace, name
Listener = Callable[[dict[str, Any], bool], None]
Index = Callable[[dict[str, Any]], str | None]

FIRST_DELAY_SECONDS: Final = 0.25
MAX_DELAY_SECONDS: Final = 30.0
SHORT_SECONDS: Final = 10.0  # whoever ends watches earlier than this gets longer and longer pauses
GONE_KEPT: Final = 10_000  # more than go while a reply is on its way; some hundred bytes each
# A Role that was just made is in force after a second; a namespace that stays forbidden is gone, or not for us.
BARRED_SECONDS: Final = 10.0
WATCH_SECONDS: Final = 50.0  # a watch that silently lost its connection is noticed after this and a little more

logger = log.get(__name__)


class Keep(NamedTuple):
    """What is kept of an object, and all that is known of it here."""

    shorten: Shorten
    tells_of_rest: bool = (
        False  # whether a change of nothing that is kept is news too, such as an echo of our own write
    )


class Informer:
    """Objects of one kind in some namespaces, or in all ([None]), found again by what they are indexed by."""

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        namespaces: Sequence[str | None],
        labels: str | None,
        listener: Listener,
        index: Index | None = None,
        keep: "Keep | None" = None,
    ) -> None:
        """`labels` selects (None: all); `listener` hears of each object that changed, or (True) went.

        `index` None: their controller's uid. `keep` None: all of an object.
        """
        self._kube = kube
        self._resource = resource
        self._namespaces = namespaces
        self._labels = labels
        self._listener = listener
        self._index = index or controller_uid
        self._keep_of = keep
        self._objects: dict[ObjectKey, dict[str, Any]] = {}
        self._owned: dict[str, set[ObjectKey]] = {}
        self._gone: dict[str, int] = {}  # of the last that the watch told to be gone, by uid: at which version
        self._listed: set[str | None] = set()
        self.synced = asyncio.Event()  # every namespace was listed once, or may not be

    def get(self, key: ObjectKey) -> dict[str, Any] | None:
        """One object; None if there is none."""
        return self._objects.get(key)

    def known_keys(self) -> Iterable[ObjectKey]:
        """The keys of all objects."""
        return list(self._objects)

    def owned_by(self, namespace: str, uid: str) -> Iterable[dict[str, Any]]:
        """The objects of a namespace whose index (the uid of their controller) this is.

        Not those of another namespace: there anybody may claim to have it.
        """
        return [self._objects[key] for key in self._owned.get(uid, ()) if key[0] == namespace]

    def remember(self, item: dict[str, Any]) -> None:
        """Take in what a write returned, unless the copy is newer, or the object went before the reply came."""
        item = self._kept(item)
        metadata = item["metadata"]
        # Not at that very version: whoever takes its labels away takes an object from our watch, and it is still there.
        is_gone = int(metadata["resourceVersion"]) < self._gone.get(metadata["uid"], 0)
        if not is_gone and not is_newer(self._objects.get(object_key(item)), item):
            self._put(item)

    async def run(self) -> None:
        """Keep the copy for ever."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._namespaces:
                group.create_task(self._keep(namespace))

    async def _keep(self, namespace: str | None) -> None:
        failures, asked = 0, time.monotonic()
        while True:
            began = float("inf")
            try:
                since = await self._list(namespace)
                began = time.monotonic()
                await self._watch(namespace, since)
            except Gone:
                logger.info("watch too old, listing again", kind=self._resource.kind)
            except KubernetesError as error:
                logger.warning("listing failed", kind=self._resource.kind, namespace=namespace, error=str(error))
                if namespace and isinstance(error, Forbidden) and time.monotonic() - asked > BARRED_SECONDS:
                    self._count_listed(namespace)  # one namespace must not keep us from seeing to the others
            # A list alone is no success: where watches are refused, all objects would be listed some times a second.
            failures = 0 if time.monotonic() - began > SHORT_SECONDS else failures + 1
            await asyncio.sleep(_delay_seconds(failures))

    async def _list(self, namespace: str | None) -> str:
        listing = await self._kube.list(self._resource, namespace, labels=self._labels, shorten=self._kept)
        fresh = {object_key(item): item for item in listing.items}
        before = {key for key in self._objects if namespace in (None, key[0])}
        # What we wrote while the list was made is newer than it: neither gone nor to be overwritten.
        listed_at = int(listing.resource_version)
        missing = [self._objects[key] for key in before - fresh.keys()]
        gone = [item for item in missing if int(item["metadata"]["resourceVersion"]) <= listed_at]
        known = self._objects.get
        changed = [
            item for key, item in fresh.items() if not (_is_same(item, known(key)) or is_newer(known(key), item))
        ]
        for item in gone:
            self._remove(item)
        for item in changed:
            self._put(item)
        self._count_listed(namespace)
        for item in gone:
            self._listener(item, True)
        for item in changed:
            self._listener(item, False)
        return listing.resource_version

    def _count_listed(self, namespace: str | None) -> None:
        self._listed.add(namespace)
        if self._listed == set(self._namespaces):
            self.synced.set()

    async def _watch(self, namespace: str | None, since: str) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            seconds = WATCH_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
            stream = self._kube.watch(self._resource, namespace, since, labels=self._labels, seconds=seconds)
            try:
                async with aclosing(stream):
                    async for event in stream:
                        since = event.object["metadata"]["resourceVersion"]
                        failures = 0
                        self._apply(event.type, event.object)
            except ApiUnavailable as error:
                failures += 1
                logger.info("watch broke", kind=self._resource.kind, error=str(error))
            else:
                failures = 0 if time.monotonic() - began > SHORT_SECONDS else failures + 1
            await asyncio.sleep(_delay_seconds(failures))

    def _apply(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "BOOKMARK":
            return
        item = self._kept(item)
        known, gone = self._objects.get(object_key(item)), kind == "DELETED"
        if gone:
            self._gone[item["metadata"]["uid"]] = int(item["metadata"]["resourceVersion"])
            if len(self._gone) > GONE_KEPT:
                del self._gone[next(iter(self._gone))]
            if known and known["metadata"]["uid"] != item["metadata"]["uid"]:
                return  # the one before it: a write of ours has told us of its namesake already
            self._remove(item)
        elif not is_newer(known, item):
            self._put(item)
        if gone or self._is_news(known, item):
            self._listener(item, gone)

    def _is_news(self, known: dict[str, Any] | None, item: dict[str, Any]) -> bool:
        if known is None or self._keep_of is None or self._keep_of.tells_of_rest:
            return True
        return _without_version(known) != _without_version(item)

    def _kept(self, item: dict[str, Any]) -> dict[str, Any]:
        return self._keep_of.shorten(item) if self._keep_of else item

    def _put(self, item: dict[str, Any]) -> None:
        key = object_key(item)
        self._remove(item)
        self._objects[key] = item
        if owner := self._index(item):
            self._owned.setdefault(owner, set()).add(key)

    def _remove(self, item: dict[str, Any]) -> None:
        key = object_key(item)
        known = self._objects.pop(key, None)
        owner = (self._index(known) if known else None) or ""
        if keys := self._owned.get(owner):
            keys.discard(key)
            if not keys:
                del self._owned[owner]


def object_key(item: dict[str, Any]) -> ObjectKey:
    """(namespace, name) of an object; one of a cluster-scoped kind is in the namespace ``."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def controller_uid(item: dict[str, Any]) -> str | None:
    """The uid of the owner that controls the object."""
    owners = item["metadata"].get("ownerReferences", ())
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), None)


def is_newer(known: dict[str, Any] | None, item: dict[str, Any]) -> bool:
    """Whether what we know of the same object is newer than `item`.

    Resource versions of one kind are ordered numbers (Kubernetes promises it from 1.35 on, etcd always gave them so).
    """
    if known is None or known["metadata"]["uid"] != item["metadata"]["uid"]:
        return False
    return int(known["metadata"]["resourceVersion"]) > int(item["metadata"]["resourceVersion"])


def _is_same(item: dict[str, Any], known: dict[str, Any] | None) -> bool:
    if known is None:
        return False
    old, new = known["metadata"], item["metadata"]
    return bool(old["uid"] == new["uid"] and old["resourceVersion"] == new["resourceVersion"])


def _without_version(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in item["metadata"].items() if name != "resourceVersion"}
    return {**item, "metadata": metadata}


def _delay_seconds(failures: int) -> float:
    grown: float = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(failures, 10))
    return grown * random.uniform(0.5, 1)  # noqa: S311 - spreads load
