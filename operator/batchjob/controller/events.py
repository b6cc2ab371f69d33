"""The one door for Events: about an object of ours, each posted once, and never a reason to stop."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from batchjob import log
from batchjob.controller.actions import Note
from batchjob.controller.manifests import MANAGER
from batchjob.errors import AlreadyExists, ApiUnavailable, KubernetesError
from batchjob.kube import EVENTS, Kube, Regarding, build_event

TRIES: Final = 2  # the status waits for the Event: more would keep it from saying what the Event says

logger = log.get(__name__)


class Events:
    """Posts Events."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def post(self, regarding: Regarding, notes: Iterable[Note]) -> None:
        """Post Events; one that cannot be posted is only logged, for the status says the same."""
        for note in notes:
            try:
                await self._post(regarding.namespace, build_note_event(regarding, note, datetime.now(UTC)))
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


def build_note_event(regarding: Regarding, note: Note, now: datetime) -> dict[str, Any]:
    """The Event of a note."""
    return build_event(regarding, note.reason, note.message, about=note.about, by=MANAGER, now=now, kind=note.type)
