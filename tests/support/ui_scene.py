"""A day at work, for the pages to show: many BatchJobs of several people, a few of them with all that a page can hold.

`HOSTILE` stands in every text that people, models or processors write.
"""

import json
import time
from typing import Any, Final

from batchjob.api.base import GROUP
from batchjob.core.records import RunRecord
from batchjob.core.rows import JobRow, fingerprint
from batchjob.store import DeadLetter, ItemResult
from tests.support.ui_world import ADMIN, ALICE, World, add_job, stamp

HOSTILE: Final = "<script>alert('hostile')</script>\"><img src=x onerror=alert(1)>"
BOB: Final = "bob@example.com"
POD: Final = "reviews-sentiment-2401-x7k2p-0-9c4d0"
LINKS: Final = [{"name": "Grafana", "url": "https://grafana.example.com/d/batchjob?var-job={name}&from={started}"}]
_TYPES: Final = ("ai-batch", "export", "email", "custom", "report")
_NAMES: Final = ("reviews-sentiment", "monthly-invoices", "welcome-mail", "thumbnails", "weekly-figures")
_PHASES: Final = ("Succeeded", "Succeeded", "Running", "Succeeded", "Failed", "Succeeded", "Queued", "Cancelled")


def condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": stamp(60)}


def spec_of(kind: str) -> dict[str, Any]:
    blocks: dict[str, dict[str, Any]] = {
        "ai-batch": {
            "aiBatch": {
                "model": {"name": "small-1", "baseUrl": "http://models.svc:8000/v1"},
                "instructions": f"Say how the writer feels. {HOSTILE}",
                "formSchema": {
                    "fields": [{"name": "mood", "type": "enum", "enum": ["good", "bad"], "description": "Feeling."}]
                },
            }
        },
        "custom": {"custom": {"processor": "noop"}},
    }
    kind = kind if kind in blocks else "custom"
    return {"type": kind, "parallelism": 4, "source": {"uri": {"url": "s3://reviews/2026-11.jsonl.gz"}}, **blocks[kind]}


def many(world: World, count: int) -> None:
    """BatchJobs by the dozen."""
    now = int(time.time())
    for number in range(count):
        phase, kind = _PHASES[number % len(_PHASES)], number % len(_TYPES)
        total = (number * 7919) % 40_000 + 12
        over, begun = phase in {"Succeeded", "Failed", "Cancelled"}, phase != "Queued"
        failed = {"Failed": total // 9 + 1, "Running": total // 200}.get(phase, 0)
        done = total - failed if phase == "Succeeded" else total * 5 // 9 if begun else 0
        active = 32 if phase == "Running" else 0
        cancelled = total - done - failed if phase == "Cancelled" else 0
        row = JobRow(
            phase=phase,
            queue=_TYPES[kind] if number % 7 else "nightly",
            owner=(ALICE, BOB, ADMIN)[number % 3],
            namespace=("team-search", "billing", "default")[number % 3],
            type=_TYPES[kind],
            reason={"Failed": "ItemsFailed", "Queued": "ConcurrencyLimit"}.get(phase, phase),
            errors=("timeout", fingerprint("timeout", "x")) if failed else (),
            name=f"{_NAMES[kind]}-{2400 - number}",
            uid=f"uid-{number}",
            created=now - 60 - number * 417,
            started=now - 50 - number * 417 if begun else None,
            ended=now - 20 - number * 409 if over else None,
            total=total if begun else 0,
            waiting=0 if over else max(0, total - done - failed - active) if begun else 0,
            active=active,
            succeeded=done,
            failed=failed,
            cancelled=cancelled,
        )
        add_job(world, row, spec_of(row.type), {})


def rich(world: World) -> None:
    """One BatchJob with everything, and one that waits."""
    now = int(time.time())
    errors = (("timeout", "no answer within 60 s from http://models.svc:8000"), ("invalid-answer", HOSTILE))
    row = JobRow(
        phase="Running", queue="ai-batch", owner=ALICE, namespace="team-search", type="ai-batch", reason="Running",
        errors=tuple(one for one, _ in errors), name="reviews-sentiment-2401", uid="uid-rich", created=now - 1500,
        started=now - 1440, total=12_000, waiting=4_309, delayed=17, active=64, succeeded=7_528, failed=82,
    )  # fmt: skip
    status = {
        "rate": "5.3/s", "duration": "24m2s", "activeWorkers": 4, "queuePosition": None, "selector": f"{GROUP}/uid=u",
        "estimatedCompletionTime": stamp(-828), "startTime": stamp(1440),
        "usage": {"promptTokens": 4_182_090, "completionTokens": 391_204, "costMicroUSD": 1_240_113},
        "conditions": [condition("Reconciling", "Running", "4 of 4 workers run")],
    }  # fmt: skip
    add_job(world, row, spec_of("ai-batch"), status)
    world.letters[row.uid] = [
        DeadLetter(
            position=17 + 31 * number,
            id=f"review-{17 + 31 * number}" if number else HOSTILE,
            error_class=errors[number % 5 == 0][0],
            message=errors[number % 5 == 0][1],
            attempts=4,
            losses=number % 2,
            data=json.dumps({"text": f"Great shoes, bad laces. {HOSTILE}", "stars": 3, "n": number}).encode(),
            at_ms=(now - 900 + number) * 1000,
        )
        for number in range(82)
    ]
    world.found[row.uid] = [
        ItemResult(number, f"review-{number}", json.dumps({"mood": "good", "why": HOSTILE}).encode())
        for number in range(30)
    ]
    uid = {"uid": row.uid}
    world.events = [
        {"metadata": {"namespace": "team-search"}, "involvedObject": uid, "type": "Normal", "reason": "Running",
         "message": "4 workers were started", "count": 1, "lastTimestamp": stamp(1440)},
        {"metadata": {"namespace": "team-search"}, "involvedObject": uid, "type": "Warning", "reason": "OutOfMemory",
         "message": f"A worker was ended, since it needed more than its limit of 512Mi {HOSTILE}", "count": 2,
         "lastTimestamp": stamp(600)},
    ]  # fmt: skip
    held = JobRow(
        phase="Suspended", queue="email", owner=ALICE, namespace="team-search", type="email",
        reason="FailureThreshold", errors=("upstream",), name="welcome-mail-2402", uid="uid-held", created=now - 700,
        started=now - 650, total=5_000, waiting=3_900, succeeded=1_020, failed=80,
    )  # fmt: skip
    why = "80 of 1,100 items failed, and spec.failurePolicy stops at 5 %. Mend the cause, then set spec.resumeToken."
    stopped = {"conditions": [condition("Suspended", "FailureThreshold", why)], "duration": "10m50s"}
    add_job(world, held, spec_of("custom"), stopped)
    world.rows.sort(key=lambda one: -one.created)


def pod(number: int, phase: str, job: str, **status: Any) -> dict[str, Any]:
    labels = {f"{GROUP}/name": job, f"{GROUP}/uid": "u", "batch.kubernetes.io/job-completion-index": str(number)}
    metadata = {"name": f"{job}-x7k2p-{number}-9c4d{number}", "namespace": "team-search", "labels": labels}
    return {
        "metadata": metadata,
        "spec": {"nodeName": f"node-{number % 3}" if phase == "Running" else None},
        "status": {"phase": phase, "startTime": stamp(1400 - number), **status},
    }


def build_scene(count: int = 120) -> World:
    """The whole of it."""
    world = World()
    many(world, count)
    rich(world)
    now = time.time()
    world.records = [
        RunRecord(
            uid=f"r{number}", namespace="default", name=f"r{number}", owner=ALICE, type="ai-batch",
            queue=_TYPES[number % 3], phase="Failed" if number % 11 == 0 else "Succeeded", created=0,
            ended=now - (number * number * 37) % 86_000,
        )
        for number in range(300)
    ]  # fmt: skip
    world.queues = [
        {"metadata": {"name": "ai-batch"}, "spec": {"maxActiveJobs": 20},
         "status": {"waiting": 5, "active": 8, "throughput": "41.2/s", "oldestWaitingSince": stamp(754)}},
        {"metadata": {"name": "nightly"}, "spec": {"paused": True},
         "status": {"waiting": 3, "oldestWaitingSince": stamp(90)}},
    ]  # fmt: skip
    world.schedules = [
        {"metadata": {"name": name, "namespace": "billing", "uid": f"uid-{name}"},
         "spec": {"owner": owner, "schedules": crons, "timeZone": "Europe/Berlin", "suspend": suspend,
                  "jobTemplate": {"spec": {key: value for key, value in spec_of("custom").items() if key != "owner"}}},
         "status": {"lastScheduleTime": stamp(7200), "nextScheduleTime": stamp(-5400), "activeRuns": len(active),
                    "active": active}}
        for name, owner, crons, suspend, active in (
            ("nightly-export", ALICE, ["30 2 * * *"], False, ["nightly-export-202611260230"]),
            ("weekly-report", BOB, ["0 9 * * 1", "0 17 * * 5"], False, []),
            ("office-hours", ALICE, ["*/15 8-17 * * 1-5"], True, []),
        )
    ]  # fmt: skip
    job = "reviews-sentiment-2401"
    trouble = {"reason": "ImagePullBackOff", "message": f"Back-off pulling image {HOSTILE}"}
    world.pods = [
        *(pod(number, "Running", job, containerStatuses=[{"restartCount": number % 2}]) for number in range(3)),
        pod(3, "Pending", job, containerStatuses=[{"restartCount": 0, "state": {"waiting": trouble}}]),
    ]
    world.settings["pod_logs"] = True
    world.settings["ui_links"] = json.dumps(LINKS)
    world.logs = {
        POD: "".join(f"2026-11-27T00:00:{n % 60:02}Z info item done position={n} {HOSTILE}\n" for n in range(90))
    }
    world.seen = {pod["metadata"]["name"]: now - 3 for pod in world.pods[:2]}
    return world
