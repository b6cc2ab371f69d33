"""An Event about an object of ours, as Kubernetes has it. Pure."""

import hashlib
from datetime import datetime
from typing import Any, Final, NamedTuple

from batchjob.api.base import API_VERSION
from batchjob.kube.resources import EVENTS

MESSAGE_BYTES: Final = 1024  # Kubernetes' own limit


class Regarding(NamedTuple):
    """The object that an Event is about, as it was seen."""

    kind: str
    namespace: str
    name: str
    uid: str


def build_event(
    regarding: Regarding, reason: str, message: str, *, about: str, by: str, now: datetime, kind: str = "Normal"
) -> dict[str, Any]:
    """An Event: of one name, and so posted once, for what it is about (`about`, beside object and reason)."""
    digest = hashlib.sha256(f"{regarding.uid}/{reason}/{about}".encode()).hexdigest()[:10]
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{regarding.name}.{digest}", "namespace": regarding.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": by,
        "reportingInstance": by,
        "action": "Reconcile",
        "type": kind,
        "reason": reason,
        "note": message.encode()[:MESSAGE_BYTES].decode(errors="ignore"),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": regarding.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
        },
    }
