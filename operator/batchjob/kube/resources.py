"""The kinds of objects the operator touches, and their paths."""

from typing import Final, NamedTuple
from urllib.parse import quote

from batchjob.api.base import API_VERSION
from batchjob.api.queue import QUEUE_KIND, QUEUE_PLURAL
from batchjob.api.schedule import SCHEDULE_KIND, SCHEDULE_PLURAL
from batchjob.api.v1alpha1 import KIND, PLURAL


class Resource(NamedTuple):
    """A kind; objects of a cluster-scoped one are in no namespace (None)."""

    api_version: str
    plural: str
    kind: str
    page_size: int = 500  # objects of one answer, as kubectl has it: bounds the memory of either end

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path; without a namespace, of all namespaces."""
        root = "api" if "/" not in self.api_version else "apis"
        parts = ["", root, self.api_version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        named = None if name is None else quote(name, safe="")  # whoever gave it, it leads nowhere else
        parts += [part for part in (self.plural, named, subresource) if part is not None]
        return "/".join(parts)


ACCESS_REVIEWS: Final = Resource("authorization.k8s.io/v1", "subjectaccessreviews", "SubjectAccessReview")
# Of those with items few at a time: as Python has it, 64 KiB of them are 600.
BATCH_JOBS: Final = Resource(API_VERSION, PLURAL, KIND, page_size=25)
BATCH_QUEUES: Final = Resource(API_VERSION, QUEUE_PLURAL, QUEUE_KIND)
BATCH_SCHEDULES: Final = Resource(API_VERSION, SCHEDULE_PLURAL, SCHEDULE_KIND, page_size=25)
CLAIMS: Final = Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CONFIG_MAPS: Final = Resource("v1", "configmaps", "ConfigMap")
CORE_EVENTS: Final = Resource("v1", "events", "Event")
CRON_JOBS: Final = Resource("batch/v1", "cronjobs", "CronJob")
EVENTS: Final = Resource("events.k8s.io/v1", "events", "Event")
JOBS: Final = Resource("batch/v1", "jobs", "Job")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")
NAMESPACES: Final = Resource("v1", "namespaces", "Namespace")
PODS: Final = Resource("v1", "pods", "Pod")
POD_LOGS: Final = Resource("v1", "pods/log", "Pod")  # to ask who may read them; `Kube.log` does
SECRETS: Final = Resource("v1", "secrets", "Secret")
SELF_REVIEWS: Final = Resource("authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io/v1", "tokenreviews", "TokenReview")
