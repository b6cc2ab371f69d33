"""The BatchJobs we know of: what the watch told last, by name.

Ended ones keep no body, and that of the others is without their items (see `light`): a few KiB each. The watch is
kopf's, and it may miss an end (see `supervisor`): `compare` checks what we know against a list of names. A deleted
BatchJob leaves its uid here until what it had in the store is removed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from batchjob.api.status import ConditionType, Phase
from batchjob.api.v1alpha1 import TRACEPARENT, BatchJob
from batchjob.controller.informer import GONE_KEPT, ObjectKey, object_key
from batchjob.controller.light import Inline, inline_of, lighten
from batchjob.controller.rows import build_row, mapping, moment, queue_of, reason_of
from batchjob.core.phases import TERMINAL
from batchjob.core.rows import JobRow


@dataclass
class Entry:
    """One BatchJob. `body` is None once it has ended: then nothing but its tidying up is left."""

    namespace: str
    name: str
    uid: str
    version: int
    generation: int
    type: str
    queue: str
    created: str
    destination: dict[str, Any] | None  # of its results
    owner: str | None
    parent: str | None  # name of the BatchJob that it reads
    phase: str | None
    reason: str | None  # of the first condition that holds
    position: int | None  # in line, as its status says
    ended: bool  # the phase is a terminal one
    complete: bool  # and it is Complete
    stalled: bool  # somebody has to mend something
    completion_time: str | None
    jobs_created: int
    inline: Inline  # its items in the manifest, which `body` does not have
    started: bool
    expires_at: datetime | None  # when what it left goes
    ttl_seconds: int | None  # after the end, the object itself
    tell_at: datetime | None  # when somebody is to be told something; None: nobody waits
    row: JobRow  # as it is listed
    body: dict[str, Any] | None = field(repr=False)

    @property
    def is_under_way(self) -> bool:
        """Whether it was started and has not ended."""
        return self.body is not None and self.started and not self.ended

    @property
    def needs_user(self) -> bool:
        """Whether workers of it need the store's user now: whoever waits is given it when it goes on."""
        return self.is_under_way and self.phase in {Phase.RUNNING, Phase.FINALIZING}

    @property
    def end(self) -> datetime | None:
        """When it ended."""
        return moment(self.completion_time)

    @property
    def traceparent(self) -> str | None:
        """Of the request that made it, as long as its body is kept."""
        found: str | None = mapping(mapping((self.body or {}).get("metadata")).get("annotations")).get(TRACEPARENT)
        return found

    def has_expired(self, now: datetime) -> bool:
        """Whether what it left is to be gone."""
        return self.ended and self.expires_at is not None and self.expires_at <= now

    def is_to_go(self, now: datetime) -> bool:
        """Whether the object itself is to be gone; not before everybody was told who is to be."""
        if not self.ended or self.end is None or self.ttl_seconds is None or self.tell_at is not None:
            return False
        return self.end + timedelta(seconds=self.ttl_seconds) <= now

    def parse(self) -> BatchJob:
        """The object, without its items; raises pydantic's ValidationError. RuntimeError for one that has ended.

        Not kept: it is four times as large as `body`, and made in a fraction of what a look takes.
        """
        if self.body is None:
            raise RuntimeError(f"BatchJob {self.namespace}/{self.name} has ended")
        return BatchJob.parse(self.body)


class KnownBatchJobs:
    """The BatchJobs by (namespace, name)."""

    def __init__(
        self,
        owes: Callable[[Entry], None] = lambda _: None,
        moved: Callable[[JobRow], None] = lambda _: None,
        turned: Callable[[Entry, dict[str, Any]], None] = lambda _, __: None,
    ) -> None:
        """`owes`: is called with each new picture of a BatchJob of which somebody is to be told something.

        `moved`: with each new row, and with that of a BatchJob that is gone. `turned`: with the first picture of one,
        and where it has come into another phase.
        """
        self._owes = owes
        self._moved = moved
        self._turned = turned
        self._entries: dict[ObjectKey, Entry] = {}
        self._keys: dict[str, ObjectKey] = {}  # by uid
        self._readers: dict[ObjectKey, set[ObjectKey]] = {}  # who reads a BatchJob
        self._gone: dict[ObjectKey, set[str]] = {}
        self._dropped: dict[str, None] = {}  # uids of the last that went

    def seen(self, body: dict[str, Any]) -> set[ObjectKey]:
        """Take in an object, unless we know a newer one, or it is gone; returns the keys to look at."""
        entry = build_entry(body)
        if entry.uid in self._dropped:  # an answer that was under way while the watch told of the end
            return set()
        key = entry.namespace, entry.name
        old = self._entries.get(key)
        # Of the same object (a write of ours that the watch tells of), or late news of one that it replaced.
        if old and old.version >= entry.version:
            return set()
        if old and old.uid != entry.uid:
            self._drop(key, old)
        self._entries[key] = entry
        self._keys[entry.uid] = key
        if entry.tell_at:
            self._owes(entry)
        if old is None or old.row != entry.row:
            self._moved(entry.row)
        if old is None or (old.uid, old.phase) != (entry.uid, entry.phase):
            self._turned(entry, body)
        if entry.parent:
            readers = self._readers.setdefault((entry.namespace, entry.parent), set())
            (readers.discard if entry.ended else readers.add)(key)
        if old and (old.uid, old.ended, old.complete) == (entry.uid, entry.ended, entry.complete):
            return {key}  # its readers wait for its end, not for its progress
        return {key, *self._readers.get(key, ())}

    def deleted(self, namespace: str, name: str, uid: str) -> set[ObjectKey]:
        """The object is gone; returns the keys to look at."""
        key = namespace, name
        entry = self._entries.get(key)
        if entry is None or entry.uid != uid:
            return set()
        self._drop(key, entry)
        return {key, *self._readers.get(key, ())}

    def _drop(self, key: ObjectKey, entry: Entry) -> None:
        del self._entries[key]
        self._keys.pop(entry.uid, None)
        self._moved(entry.row)
        self._gone.setdefault(key, set()).add(entry.uid)
        self._dropped[entry.uid] = None
        if len(self._dropped) > GONE_KEPT:
            del self._dropped[next(iter(self._dropped))]
        if entry.parent:
            readers = self._readers.get((entry.namespace, entry.parent), set())
            readers.discard(key)
            if not readers:
                self._readers.pop((entry.namespace, entry.parent), None)

    @property
    def version(self) -> int:
        """The newest that we know of: a list that is asked for now is not older."""
        return max((entry.version for entry in self._entries.values()), default=0)

    def get(self, key: ObjectKey) -> Entry | None:
        """What we know of a BatchJob; None if there is none."""
        return self._entries.get(key)

    def key_of(self, uid: str) -> ObjectKey | None:
        """The key of the BatchJob with this uid."""
        return self._keys.get(uid)

    def circle(self, key: ObjectKey) -> list[str]:
        """Names of BatchJobs of which each waits for the next one and the last for this one; else none."""
        namespace, name = key
        names: list[str] = []
        while (entry := self._entries.get((namespace, name))) and not entry.ended and name not in names:
            names.append(name)
            name = entry.parent or ""
        return names if name == key[1] else []

    def readers(self, key: ObjectKey) -> list[Entry]:
        """The BatchJobs that read this one and have not ended."""
        return [self._entries[reader] for reader in self._readers.get(key, ()) if reader in self._entries]

    def entries(self) -> Iterable[Entry]:
        """Every BatchJob."""
        return self._entries.values()

    def all_keys(self) -> list[ObjectKey]:
        """Of every BatchJob, and of deleted ones that may still have something in the store."""
        return [*self._entries, *(self._gone.keys() - self._entries.keys())]

    def gone(self, key: ObjectKey) -> set[str]:
        """Uids of deleted BatchJobs of this name that may still have something in the store."""
        return set(self._gone.get(key, ()))

    def tidied(self, key: ObjectKey, uid: str) -> None:
        """Nothing of a deleted BatchJob is left."""
        uids = self._gone.get(key, set())
        uids.discard(uid)
        if not uids:
            self._gone.pop(key, None)

    def forget_gone(self, key: ObjectKey) -> None:
        """Leave it to the replica that leads to remove what deleted BatchJobs of this name had in the store."""
        self._gone.pop(key, None)

    def compare(
        self, metadata: Iterable[dict[str, Any]], version: int, namespace: str | None = None
    ) -> tuple[set[ObjectKey], list[ObjectKey]]:
        """Compare with a list of all names (of one namespace), taken at `version`.

        Returns the keys to look at because an object we knew is gone, and the keys of objects that we do not know as
        they are. What we learned of after the list was taken is left alone.
        """
        listed = {object_key({"metadata": item}): item for item in metadata}
        gone: set[ObjectKey] = set()
        for key, entry in list(self._entries.items()):
            item = listed.get(key)
            if namespace not in (None, entry.namespace):
                continue
            if entry.version <= version and (item is None or item["uid"] != entry.uid):
                gone |= self.deleted(*key, entry.uid)
        unknown = [key for key, item in listed.items() if not self._knows(key, item)]
        return gone, unknown

    def count_unknown(self, metadata: Iterable[dict[str, Any]]) -> int:
        """How many of a list of names we do not know as they are."""
        return sum(not self._knows(object_key({"metadata": item}), item) for item in metadata)

    def _knows(self, key: ObjectKey, item: dict[str, Any]) -> bool:
        entry = self._entries.get(key)
        # The generation, not the version: that moves with each status write, and those are our own.
        return entry is not None and entry.uid == item["uid"] and entry.generation >= item["generation"]


def build_entry(body: dict[str, Any]) -> Entry:
    """An entry from an object of the API server's, which it lightens; only its metadata is taken on trust."""
    metadata = lighten(body)["metadata"]
    status = mapping(body.get("status"))
    phase, generation = status.get("phase"), metadata.get("generation", 0)
    ended = phase in TERMINAL
    settled = ended and status.get("observedGeneration") == generation
    spec = mapping(body.get("spec"))
    return Entry(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        generation=generation,
        type=spec.get("type", ""),
        queue=queue_of(spec),
        created=metadata.get("creationTimestamp", ""),
        destination=mapping(mapping(spec.get("results")).get("destination")) or None,
        owner=spec.get("owner"),
        parent=_parent(mapping(spec.get("source"))),
        phase=phase,
        position=status.get("queuePosition"),
        reason=reason_of(status),
        ended=ended,
        complete=_holds(status, ConditionType.COMPLETE),
        stalled=_holds(status, ConditionType.STALLED),
        completion_time=status.get("completionTime"),
        jobs_created=status.get("jobsCreated", 0),
        inline=inline_of(body),
        started=bool(status.get("storeEpoch")),
        expires_at=moment(mapping(status.get("results")).get("expiresAt")),
        ttl_seconds=spec.get("ttlSecondsAfterFinished"),
        tell_at=_tell_at(status),
        row=build_row(body),
        body=None if settled else body,
    )


def _tell_at(status: dict[str, Any]) -> datetime | None:
    """When the first delivery is due that is not settled."""
    notices = status.get("notifications") or ()
    due = (moment(d.get("nextAttemptTime")) for notice in notices for d in notice.get("deliveries", ()))
    return min((moment for moment in due if moment), default=None)


def _parent(source: dict[str, Any]) -> str | None:
    place = mapping(source.get("resultsOf") or source.get("redriveOf"))
    return place.get("batchJobName")


def _holds(status: dict[str, Any], kind: ConditionType) -> bool:
    return any(c.get("type") == kind and c.get("status") == "True" for c in status.get("conditions", ()))
