"""BatchSchedules on a cluster, and a CronJob controller's deeds without the wait for its times."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kubernetes.client import BatchV1Api, CustomObjectsApi

from batchjob.controller.schedules.manifests import cron_job_name, run_name
from tests.support.cluster_jobs import BATCH_JOBS, LOOK_SECONDS, api_client
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import API_VERSION, inline, noop

SELDOM: Final = "0 0 29 2 *"  # no test meets its time
TIMES: Final = tuple(datetime(2026, 3, day, 9, 0, tzinfo=UTC) for day in range(1, 29))


def batch_schedule(name: str, *schedules: str, template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A BatchSchedule of BatchJobs that do nothing; `template` replaces spec.jobTemplate."""
    return {
        "apiVersion": API_VERSION,
        "kind": "BatchSchedule",
        "metadata": {"name": name},
        "spec": {
            "schedules": list(schedules or (SELDOM,)),
            "jobTemplate": template or {"spec": noop(name, inline(2))["spec"]},
            **spec,
        },
    }


class Schedules:
    """The BatchSchedules of one test."""

    def __init__(self, kubectl: Kubectl) -> None:
        """Work in kubectl's namespace."""
        self.kubectl = kubectl
        client = api_client(kubectl.kubeconfig)
        self._objects, self._batch = CustomObjectsApi(client), BatchV1Api(client)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """`kubectl apply`, and wait until the operator has seen each."""
        self.kubectl.apply(*manifests)
        for manifest in manifests:
            self.wait_seen(manifest["metadata"]["name"])

    def get(self, name: str) -> dict[str, Any]:
        """The BatchSchedule as it is."""
        found: Any = self._objects.get_namespaced_custom_object(
            *BATCH_JOBS, self.kubectl.namespace, "batchschedules", name
        )
        return dict(found)

    def status(self, name: str) -> dict[str, Any]:
        """Its status; empty before the operator wrote one."""
        found: dict[str, Any] = self.get(name).get("status", {})
        return found

    def wait_status(self, name: str, what: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the status is so."""
        return wait_until(lambda: self.status(name), f"{name} {what}", until=until, every=LOOK_SECONDS)

    def wait_seen(self, name: str) -> dict[str, Any]:
        """Wait until the status is about the spec as it is, and its CronJobs."""
        generation = self.get(name)["metadata"]["generation"]

        def seen(status: dict[str, Any]) -> bool:
            is_reconciling = any(c["type"] == "Reconciling" and c["status"] == "True" for c in status["conditions"])
            return status["observedGeneration"] == generation and not is_reconciling

        return self.wait_status(name, "to be seen", lambda status: "conditions" in status and seen(status))

    def wait_stalled(self, name: str, reason: str) -> str:
        """Wait until it is Stalled for this reason; returns the message."""
        wanted = ("True", reason)

        def holds(status: dict[str, Any]) -> bool:
            return any((c["status"], c["reason"]) == wanted for c in status.get("conditions", ()))

        status = self.wait_status(name, f"to be Stalled because of {reason}", holds)
        return str(next(c["message"] for c in status["conditions"] if c["type"] == "Stalled"))

    def patch(self, name: str, **spec: Any) -> None:
        """Change fields of the spec, and wait until the operator has seen it."""
        self.kubectl("patch", "batchschedule", name, "--type=merge", "-p", json.dumps({"spec": spec}))
        self.wait_seen(name)

    def cron_job(self, name: str, text: str = SELDOM, zone: str = "UTC") -> str:
        """The name of the CronJob of a cron string."""
        return cron_job_name(name, text, zone)

    def fire(self, name: str, at: datetime, text: str = SELDOM, zone: str = "UTC") -> str:
        """Make a Job as the CronJob controller does at its time; returns the name of its BatchJob."""
        cron_job = self.kubectl.get("cronjob", self.cron_job(name, text, zone))
        template = cron_job["spec"]["jobTemplate"]
        metadata = cron_job["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": metadata["name"], "uid": metadata["uid"]}
        job: Any = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": f"{metadata['name']}-{int(at.timestamp()) // 60}",
                "labels": template["metadata"]["labels"],
                "annotations": {"batch.kubernetes.io/cronjob-scheduled-timestamp": at.isoformat()},
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": template["spec"],
        }
        self._batch.create_namespaced_job(self.kubectl.namespace, job)
        return run_name(name, job["metadata"]["name"], at)

    def job_of(self, run: str) -> dict[str, Any]:
        """The Job that owns a BatchJob."""
        [owner] = self.kubectl.get("batchjob", run)["metadata"]["ownerReferences"]
        return self.job(owner["name"])

    def job(self, name: str) -> dict[str, Any]:
        """A Job."""
        return self.kubectl.get("job", name)

    def wait_job(self, name: str, condition: str) -> dict[str, Any]:
        """Wait until a Job has ended so; returns its status."""

        def ended(job: dict[str, Any]) -> bool:
            return any(c["type"] == condition for c in job["status"].get("conditions", ()))

        return dict(wait_until(lambda: self.job(name), f"Job {name} to be {condition}", until=ended)["status"])

    def forget(self, name: str, until: datetime, text: str = SELDOM) -> None:
        """Let the operator and Kubernetes believe that nothing happened since `until`: so it is after an outage."""
        cron_job = self.cron_job(name, text)
        moment = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"name": cron_job, "schedule": text, "settledUntil": moment}
        self._patch_status("batchschedule", name, {"cronJobs": [entry]})
        self._patch_status("cronjob", cron_job, {"lastScheduleTime": moment})

    def _patch_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        change = json.dumps({"status": status})
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", change)


def last_hours(count: int) -> list[datetime]:
    """The last full hours, oldest first."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return [now - timedelta(hours=back) for back in range(count - 1, -1, -1)]
