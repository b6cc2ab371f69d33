"""The objects a run is made of: one Secret and its Jobs. Pure; tests check them against Kubernetes' own schemas.

A Job's indexes are worker slots, never items. Its pods meet the restricted Pod Security Standard, have no access to
Kubernetes, and get everything as files: the run's Secret, the user's references by purpose, and claims.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from batchjob.api.base import API_VERSION, GROUP, Model
from batchjob.api.pods import Variant, Worker
from batchjob.api.run import (
    EXIT_CONFIGURATION,
    EXIT_DRAINED,
    REFERENCES_DIR,
    RUN_DIR,
    RUN_FILE,
    STORE_FILE,
    ParentResults,
    Reference,
    Run,
    StoreAccess,
    references,
)
from batchjob.api.v1alpha1 import KIND, BatchJob
from batchjob.controller.observed import EPOCH, FINISHED_BEFORE, FRUITLESS_BEFORE

NAME_LABEL: Final = f"{GROUP}/name"
UID_LABEL: Final = f"{GROUP}/uid"
KUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "batchjob-operator"
SELECTOR: Final = f"{MANAGED_BY}={MANAGER},{UID_LABEL}"

CONTAINER: Final = "worker"
PROBE_PORT: Final = 8080
WORKER_UID: Final = 65532  # the user of our images; a claim's files get this group
# Kills of one slot that a Job outlives. Each waits twice as long as the one before (10 s, 20 s): a new Job is quicker.
BACKOFF_LIMIT_PER_INDEX: Final = 2
HASH_LENGTH: Final = 5
GRACE_RESERVE_SECONDS: Final = 5  # between a worker's last item and the kubelet's SIGKILL: time for the last commit


class Owner(NamedTuple):
    """The BatchJob that an object belongs to."""

    namespace: str
    name: str
    uid: str


class Slots(NamedTuple):
    """How many pods a Job has."""

    number: int
    kueue: str | None = None  # the LocalQueue whose Kueue lets them start; None: nobody else has a say


class History(NamedTuple):
    """What a Job is told of those before it."""

    finished: int = 0  # items that are terminal
    fruitless: int = 0  # Jobs in a row that finished none


@dataclass(frozen=True)
class PodSettings:
    """What the installation says about worker pods."""

    image: str
    image_pull_policy: str
    grace_seconds: int
    job_ttl_seconds: int
    log_level: str
    variables: Mapping[str, str] = field(default_factory=dict)  # of their environment: where traces go
    pull_secrets: Sequence[str] = ()
    variants: Mapping[Variant, str] = field(default_factory=dict)  # images that have more, for specs that need it
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    copied_labels: Sequence[str] = ()  # those of a BatchJob that its Jobs and pods get too, such as a cost centre
    openshift: bool = False  # as whom pods run is for the cluster to say


def child_name(name: str, uid: str, index: int) -> str:
    """The name of a run's Job: the same at each try, so that creating it twice makes one."""
    digest = hashlib.sha256(f"{uid}/{index}".encode()).hexdigest()
    return f"{name}-{digest[:HASH_LENGTH]}"


def secret_name(name: str, uid: str) -> str:
    """The name of a run's Secret: that of its first Job. Later Jobs mount the same."""
    return child_name(name, uid, 0)


def build_secret(run: Run, access: StoreAccess) -> dict[str, Any]:
    """The run's own Secret: what the pods are told, and the credentials of this run alone."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(Owner(run.namespace, run.name, run.uid), secret_name(run.name, run.uid)),
        "type": "Opaque",
        "data": {RUN_FILE: encode(run), STORE_FILE: encode(access)},
    }


def encode(document: Model) -> str:
    """A document as a value of a Secret."""
    return base64.b64encode(document.model_dump_json(by_alias=True, exclude_none=True).encode()).decode()


def decode(secret: dict[str, Any], name: str) -> bytes:
    """A document of a Secret; empty where it is not there."""
    return base64.b64decode(secret.get("data", {}).get(name, ""))


def build_job(
    job: BatchJob,
    settings: PodSettings,
    *,
    epoch: str,
    index: int,
    slots: Slots,
    history: History = History(),  # noqa: B008 - frozen
    parent: ParentResults | None = None,
) -> dict[str, Any]:
    """The Job number `index` of a run.

    `history`: a later look compares. `parent`: where the results that it reads are.
    """
    owner = Owner(job.metadata.namespace, job.metadata.name, job.metadata.uid)
    metadata = _metadata(owner, child_name(owner.name, owner.uid, index))
    own = job.metadata.labels or {}
    copied = {name: own[name] for name in settings.copied_labels if name in own}
    metadata["labels"] = copied | metadata["labels"]
    if slots.kueue:
        metadata["labels"] |= {KUEUE_LABEL: slots.kueue}
    metadata["annotations"] = {
        EPOCH: epoch,
        FINISHED_BEFORE: str(history.finished),
        FRUITLESS_BEFORE: str(history.fruitless),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            **({"suspend": True} if slots.kueue else {}),  # until Kueue says otherwise
            "completionMode": "Indexed",
            "completions": slots.number,
            "parallelism": slots.number,
            "backoffLimitPerIndex": BACKOFF_LIMIT_PER_INDEX,
            "podReplacementPolicy": "Failed",  # never two pods in one slot
            "podFailurePolicy": {"rules": _failure_rules()},
            "ttlSecondsAfterFinished": settings.job_ttl_seconds,
            "template": {
                "metadata": {
                    "labels": {**settings.labels, **copied, **_labels(owner)},
                    **({"annotations": dict(settings.annotations)} if settings.annotations else {}),
                },
                "spec": _pod(job, settings, parent),
            },
        },
    }


def slots_patch(parallelism: int | None, suspend: bool | None) -> dict[str, Any]:
    """The change of a Job's slots; both numbers together, or Kubernetes refuses it."""
    spec: dict[str, Any] = {}
    if parallelism is not None:
        spec |= {"parallelism": parallelism, "completions": parallelism}
    if suspend is not None:
        spec["suspend"] = suspend
    return {"spec": spec}


def _failure_rules() -> list[dict[str, Any]]:
    def exits(action: str, code: int) -> dict[str, Any]:
        return {
            "action": action,
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [code]},
        }

    # In this order: a pod that was drained is no failure, whatever its exit code says.
    drained = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return [drained, exits("Ignore", EXIT_DRAINED), exits("FailJob", EXIT_CONFIGURATION)]


def _metadata(owner: Owner, name: str) -> dict[str, Any]:
    reference = {"apiVersion": API_VERSION, "kind": KIND, "name": owner.name, "uid": owner.uid}
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": _labels(owner),
        "ownerReferences": [reference | {"controller": True, "blockOwnerDeletion": True}],
    }


def _labels(owner: Owner) -> dict[str, str]:
    return {
        NAME_LABEL: owner.name,
        UID_LABEL: owner.uid,
        MANAGED_BY: MANAGER,
        "app.kubernetes.io/component": "worker",
    }


def _pod(job: BatchJob, settings: PodSettings, parent: ParentResults | None) -> dict[str, Any]:
    worker = job.spec.worker or Worker()
    volumes = _volumes(job, worker, parent)
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a namespace with many Services would fill the environment
        "terminationGracePeriodSeconds": settings.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            **({} if settings.openshift else dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), WORKER_UID)),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [volume for volume, _ in volumes],
        "containers": [_container(worker, settings, _image(job, settings), [mount for _, mount in volumes])],
        "serviceAccountName": worker.service_account_name,
        "nodeSelector": worker.node_selector,
        "priorityClassName": worker.priority_class_name,
        "tolerations": [toleration.to_json() for toleration in worker.tolerations or ()],
        "imagePullSecrets": [secret.to_json() for secret in worker.image_pull_secrets or ()]
        or [{"name": name} for name in settings.pull_secrets],
    }
    return {name: value for name, value in pod.items() if value not in (None, [])}


def _image(job: BatchJob, settings: PodSettings) -> str:
    """The BatchJob's own, else the installation's that has what it needs."""
    variant = job.spec.variant
    plain = settings.variants.get(variant, settings.image) if variant else settings.image
    return (job.spec.worker and job.spec.worker.image) or plain


def _container(worker: Worker, settings: PodSettings, image: str, mounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    container = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["worker"],
        "env": [
            {"name": "BATCHJOB_WORKER_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "BATCHJOB_LOG_LEVEL", "value": settings.log_level},
            {"name": "BATCHJOB_GRACE_SECONDS", "value": str(max(1, settings.grace_seconds - GRACE_RESERVE_SECONDS))},
            {"name": "BATCHJOB_PROBE_PORT", "value": str(PROBE_PORT)},
            *({"name": name, "value": value} for name, value in settings.variables.items()),
        ],
        "envFrom": [source.to_json() for source in worker.env_from or ()],
        "ports": [{"name": "probes", "containerPort": PROBE_PORT}],
        # Generous: a pod that is only slow must not be killed; a lost lease already protects its items.
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "probes"},
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": worker.resources.to_json() if worker.resources else None,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": list(mounts),
    }
    return {name: value for name, value in container.items() if value not in (None, [])}


def _volumes(
    job: BatchJob, worker: Worker, parent: ParentResults | None
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(volume, mount) of everything a worker sees."""
    run = {"name": "run", "secret": {"secretName": secret_name(job.metadata.name, job.metadata.uid)}}
    found: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (run, {"name": "run", "mountPath": RUN_DIR, "readOnly": True}),
        ({"name": "tmp", "emptyDir": {}}, {"name": "tmp", "mountPath": "/tmp"}),  # noqa: S108 - the pod's own
    ]
    found += [_reference_volume(reference) for reference in references(job.spec, parent)]
    for number, claim in enumerate(worker.volumes or ()):
        name = f"claim-{number}"
        volume = {"name": name, "persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": claim.read_only}}
        found.append((volume, {"name": name, "mountPath": claim.mount_path, "readOnly": claim.read_only}))
    return found


def _reference_volume(reference: Reference) -> tuple[dict[str, Any], dict[str, Any]]:
    kind, name_field = ("secret", "secretName") if reference.kind == "Secret" else ("configMap", "name")
    source: dict[str, Any] = {name_field: reference.name}
    if reference.key is not None:  # a pod sees no more than it needs
        source["items"] = [{"key": reference.key, "path": reference.key}]
    name = f"reference-{reference.purpose}"
    mount = {"name": name, "mountPath": f"{REFERENCES_DIR}/{reference.purpose}", "readOnly": True}
    return {"name": name, kind: source}, mount
