"""Reasons of conditions and Events. They are API: CamelCase, a reason why, never renamed."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition has its status, or why an Event was posted."""

    # on the way
    LOADING = "Loading"
    RUNNING = "Running"
    QUEUE_PAUSED = "QueuePaused"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    OWNER_LIMIT = "OwnerLimit"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    START_AFTER = "StartAfter"
    DEPENDENCY_NOT_MET = "DependencyNotMet"
    PREVIOUS_RUN_ACTIVE = "PreviousRunActive"
    SCHEDULED = "Scheduled"
    SUSPENDED_BY_USER = "SuspendedByUser"
    STORE_LOST = "StoreLost"
    ALL_DELAYED = "AllDelayed"
    FINALIZING = "Finalizing"
    # stalled, and healing by itself once the cause is gone
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    KEY_NOT_FOUND = "KeyNotFound"
    BATCH_JOB_NOT_FOUND = "BatchJobNotFound"
    QUEUE_NOT_FOUND = "QueueNotFound"
    QUEUE_NOT_ALLOWED = "QueueNotAllowed"
    LIMIT_EXCEEDED = "LimitExceeded"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_UNSCHEDULABLE = "PodUnschedulable"
    POD_NOT_STARTING = "PodNotStarting"
    POD_REFUSED = "PodRefused"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_FULL = "StoreFull"
    STORE_DAMAGED = "StoreDamaged"
    # the end
    SUCCEEDED = "Succeeded"
    ITEMS_FAILED = "ItemsFailed"
    INVALID_SPEC = "InvalidSpec"
    INVALID_SOURCE = "InvalidSource"
    SOURCE_CHANGED = "SourceChanged"
    DEPENDENCY_FAILED = "DependencyFailed"
    WORKERS_FAILED = "WorkersFailed"
    WORKER_MISCONFIGURED = "WorkerMisconfigured"
    RESULTS_FAILED = "ResultsFailed"
    CANCELLED = "Cancelled"
    RUN_DELETED = "RunDeleted"
