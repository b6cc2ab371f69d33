"""The door to the Kubernetes API: nothing else in the house speaks to it.

A thin client on aiohttp: it knows paths, time limits, retries and our typed errors, and hands out plain dicts. A full
client library would cost the operator twenty megabytes and several times the CPU per call for models that it does not
need: what we write is checked against Kubernetes' own schemas in the tests.
"""

from batchjob.kube.access import Access, Certificate
from batchjob.kube.answers import WatchEvent
from batchjob.kube.client import Kube, Listing, Shorten
from batchjob.kube.events import Regarding, build_event
from batchjob.kube.kubeconfig import Context, find_files, sign_in
from batchjob.kube.resources import (
    ACCESS_REVIEWS,
    BATCH_JOBS,
    BATCH_QUEUES,
    BATCH_SCHEDULES,
    CLAIMS,
    CONFIG_MAPS,
    CORE_EVENTS,
    CRON_JOBS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    POD_LOGS,
    PODS,
    SECRETS,
    SELF_REVIEWS,
    TOKEN_REVIEWS,
    Resource,
)
from batchjob.kube.throttle import Throttle

__all__ = [
    "ACCESS_REVIEWS",
    "BATCH_JOBS",
    "BATCH_QUEUES",
    "BATCH_SCHEDULES",
    "CLAIMS",
    "CONFIG_MAPS",
    "CORE_EVENTS",
    "CRON_JOBS",
    "EVENTS",
    "JOBS",
    "LEASES",
    "NAMESPACES",
    "PODS",
    "POD_LOGS",
    "SECRETS",
    "SELF_REVIEWS",
    "TOKEN_REVIEWS",
    "Access",
    "Certificate",
    "Context",
    "Kube",
    "Listing",
    "Regarding",
    "Resource",
    "Shorten",
    "Throttle",
    "WatchEvent",
    "build_event",
    "find_files",
    "sign_in",
]
