"""The one door for Events: about an object of ours, each posted once, and never a reason to stop."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from batchjob import log
from batchjob.api.base import API_VERSION
from batchjob.controller.actions import Note
from batchjob.controller.manifests import MANAGER
from batchjob.errors import AlreadyExists, ApiUnavailable, KubernetesError
from batchjob.kube import EVENTS, Kube

MESSAGE_BYTES: Final = 1024  # Kubernetes' own limit
TRIES: Final = 2  # the status waits for the Event: more would keep it from saying what the Event says

logger = log.get(__name__)


class Regarding(NamedTuple):
    """The object that an Event is about, as it was seen."""

    kind: str
    namespace: str
    name: str
    uid: str


class Events:
    """Posts Events."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def post(self, regarding: Regarding, notes: Iterable[Note]) -> None:
        """Post Events; one that cannot be posted is only logged, for the status says the same."""
        for note in notes:
            try:
                await self._post(regarding.namespace, build_event(regarding, note, datetime.now(UTC)))
            except KubernetesError as error:
                about = f"{regarding.kind} {regarding.namespace}/{regarding.name}"
                logger.warning("event not posted", about=about, error=str(error))

    async def _post(self, namespace: str, event: dict[str, Any]) -> None:
        """A create that nobody answered may be tried again here: the second of that name is refused."""
        for attempt in range(1, TRIES + 1):
            try:
                await self._kube.create(EVENTS, namespace, event)
            except AlreadyExists:
                return
            except ApiUnavailable:
                if attempt == TRIES:
                    raise
            else:
                return


def build_event(regarding: Regarding, note: Note, now: datetime) -> dict[str, Any]:
    """An Event: of one name, and so posted once, for what it is about."""
    digest = hashlib.sha256(f"{regarding.uid}/{note.reason}/{note.about}".encode()).hexdigest()[:10]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{regarding.name}.{digest}", "namespace": regarding.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": MANAGER,
        "reportingInstance": MANAGER,
        "action": "Reconcile",
        "type": note.type,
        "reason": note.reason,
        "note": note.message.encode()[:MESSAGE_BYTES].decode(errors="ignore"),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": regarding.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
        },
    }
