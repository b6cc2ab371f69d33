"""What a run of the operator leaves behind, as a value to compare: everything of a namespace, and of its runs in Redis.

What differs from one run to the next in any case is masked: uids and what is named after them, times, versions, random
words; while a run goes on, also how far its items are. What is left must be equal. Of a run that was stopped, the Job
is deleted or its workers were faster, and ended it.
"""

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from redis import Redis

from batchjob.store.keys import live_told_key
from tests.support.cluster_jobs import api_client
from tests.support.kubectl import Kubectl

State = dict[str, Any]

CLOCKS: Final = frozenset({
    "duration", "rate", "lastTransitionTime", "estimatedCompletionTime",
    "estimatedStartTime", "activeSeconds", "checkpoint",  # of a run that has ended nobody asks for it
})  # fmt: skip
NEXT: Final = frozenset({"nextScheduleTime", "lastScheduleTime", "lastSuccessfulTime"})
# Of a run that was stopped: how far it came is chance; that nothing is missing is not.
STOPPED: Final = frozenset({"Cancelled", "DeadlineExceeded"})
LIVE: Final = frozenset({"progress", "percent", "counts", "activeWorkers", "failedItems", "lastErrors", "source"})
ENDED: Final = frozenset({"Succeeded", "Failed", "Cancelled"})
HASHED: Final = re.compile(r"\b((?:run|parent)(?:-\d{12})?)-[0-9a-f]{5}\b")  # a name of ours, and of its uid's hash
UUID: Final = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
RANDOM: Final = re.compile(r"\b([0-9a-f]{16}|[0-9a-f]{64})\b")  # an epoch; the hash of a source that names its world
TIME: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def take(admin: Kubectl, store: Redis, uids: Iterable[str]) -> State:
    """Everything of a namespace, and of these runs in the store."""
    namespace = f"namespaces/{admin.namespace}"
    jobs = read(admin, f"/apis/batchjob.dev/v1alpha1/{namespace}/batchjobs")
    stopped = {job["metadata"]["uid"] for job in jobs if _was_stopped(job.get("status", {}))}
    children = [job for job in read(admin, f"/apis/batch/v1/{namespace}/jobs") if not _is_over(job, stopped)]
    found: State = {
        "batchjobs": {job["metadata"]["name"]: _batch_job(job) for job in jobs},
        "jobs": sorted((_job(job) for job in children), key=json.dumps),
        "secrets": [_secret(secret) for secret in read(admin, f"/api/v1/{namespace}/secrets")],
        "events": sorted(
            [
                event["type"],
                event["reason"],
                re.sub(r"\d+ of \d+ items|active for \w+", "<n>", event.get("note", "")),
                event["regarding"]["name"],
            ]
            for event in read(admin, f"/apis/events.k8s.io/v1/{namespace}/events")
            if event["regarding"]["kind"].startswith("Batch")
        ),
        "store": [_in_store(store, uid, jobs) for uid in uids],
        "schedules": [
            {"meta": _metadata(item), "status": _told(item.get("status", {}), CLOCKS | NEXT)}
            for kind in ("batchjob.dev/v1alpha1/{}/batchschedules", "batch/v1/{}/cronjobs")
            for item in read(admin, f"/apis/{kind.format(namespace)}")
        ],
    }
    return _masked(found, admin.namespace)


def read(admin: Kubectl, path: str) -> list[dict[str, Any]]:
    """The objects of a list."""
    api = api_client(admin.kubeconfig)
    request = api.param_serialize(method="GET", resource_path=path, auth_settings=["BearerToken"])
    answer: Any = api.call_api(*request)
    items: list[dict[str, Any]] = json.loads(answer.read())["items"]
    return items


def difference(one: object, other: object, where: str = "") -> list[str]:
    """Where two states differ, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys(), key=str)
        return [line for key in keys for line in difference(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for number, (a, b) in pairs for line in difference(a, b, f"{where}[{number}]")]
    return [] if one == other else [f"{where}: {one!r} is not {other!r}"]


def _batch_job(job: dict[str, Any]) -> dict[str, Any]:
    status = job.get("status", {})
    ended = status.get("phase") in ENDED
    left_out = CLOCKS if ended else CLOCKS | LIVE
    seen = _told(status, left_out)
    if _was_stopped(status):
        counts = seen.pop("counts", {})
        seen["stopped"] = counts.get("total", 0) - counts.get("succeeded", 0) - counts.get("cancelled", 0)
        seen = {key: value for key, value in seen.items() if key not in LIVE}
        for condition in seen["conditions"]:
            condition["message"] = re.sub(r"\d+", "<n>", condition["message"])
    return {"spec": job["spec"], "status": seen, "meta": _metadata(job)}


def _was_stopped(status: dict[str, Any]) -> bool:
    return bool(STOPPED & {condition["reason"] for condition in status.get("conditions", ())})


def _told(status: dict[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    """A status without what is chance, its conditions too."""
    conditions = [
        {key: value for key, value in condition.items() if key not in CLOCKS}
        for condition in status.get("conditions", ())
    ]
    return {key: value for key, value in status.items() if key not in left_out} | {"conditions": conditions}


def _metadata(item: dict[str, Any]) -> dict[str, Any]:
    found = item["metadata"]
    told = {key: found.get(key) for key in ("name", "labels", "ownerReferences", "finalizers")}
    annotations = found.get("annotations") or {}
    return told | {"annotations": {k: v for k, v in annotations.items() if k.startswith("batchjob.dev/")}}


def _job(job: dict[str, Any]) -> dict[str, Any]:
    spec, status = job["spec"], job.get("status", {})
    ended = sorted(c["type"] for c in status.get("conditions", ()) if c["status"] == "True")
    slots = {key: spec.get(key) for key in ("parallelism", "completions", "suspend")}
    pod = spec["template"]["spec"]["containers"][0]
    return {"meta": _metadata(job), "slots": slots, "conditions": ended, "image": pod["image"]}


def _secret(secret: dict[str, Any]) -> dict[str, Any]:
    data = {key: json.loads(base64.b64decode(value)) for key, value in secret.get("data", {}).items()}
    for document in data.values():
        document.pop("password", None)
    return {"meta": _metadata(secret), "data": data}


def _in_store(store: Redis, uid: str, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether its user is there, and its keys: of a run that goes on only whether it has any."""
    users = [name for name in store.acl_users() if uid in name]
    keys = sorted(map(str, store.keys(f"*{uid}*")))
    phases = {job["metadata"]["uid"]: job.get("status", {}).get("phase") for job in jobs}
    if uid not in phases:
        # What people were told of it is kept until its TTL: nothing, if it was gone before there was anybody to tell.
        keys = [key for key in keys if key != live_told_key(uid)]
    elif phases[uid] not in ENDED:
        keys = ["some"] if keys else []
    if any(job["metadata"]["uid"] == uid and _was_stopped(job.get("status", {})) for job in jobs):
        # Whether an item was done is chance.
        keys = [key for key in keys if not key.endswith((":results", ":tally"))]
    return {"users": len(users), "keys": keys}


def _owners(item: dict[str, Any]) -> set[str]:
    return {owner["uid"] for owner in item["metadata"].get("ownerReferences", ())}


def _is_over(job: dict[str, Any], stopped: set[str]) -> bool:
    ended = {c["type"] for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    return bool(_owners(job) & stopped and ended & {"Complete", "Failed"})


def _masked(found: State, namespace: str) -> State:
    text = json.dumps(found).replace(namespace, "<namespace>")
    for pattern, word in ((UUID, "<uid>"), (TIME, "<time>"), (HASHED, r"\1-<hash>"), (RANDOM, "<random>")):
        text = pattern.sub(word, text)
    masked: State = json.loads(text)
    return masked
