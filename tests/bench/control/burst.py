"""Many at once: how fast Jobs come to be, how fast all are complete, and what that costs."""

import time

from batchjob.kube import BATCH_JOBS, JOBS
from tests.bench.control.objects import batch_job, raw_job
from tests.bench.control.stage import NAMESPACE, Stage
from tests.bench.control.watching import until, watching
from tests.bench.figures import Line, rss_mib


async def raw_burst(stage: Stage, count: int) -> Line:
    """Jobs that the client makes itself."""
    names = [f"raw-{number}" for number in range(count)]
    async with watching(stage.kube, NAMESPACE, JOBS) as seen:
        writes, cpu, began = stage.writes(), stage.control_plane_cpu(), time.perf_counter()
        await stage.create_all(JOBS, [raw_job(name) for name in names])
        created = time.perf_counter()
        await until(lambda: len(seen.jobs_complete) >= count, f"{count} Jobs to be complete")
    return {
        "figure": "burst",
        "who": "job",
        "objects": count,
        "created_per_second": count / (created - began),
        "jobs_per_second": count / (max(seen.jobs.values()) - began),
        "complete_seconds": max(seen.jobs_complete.values()) - began,
        "writes": (stage.writes() - writes) / count,
        "control_plane_cpu_ms": 1000 * (stage.control_plane_cpu() - cpu) / count,
    }


async def burst(stage: Stage, count: int, *, figure: str = "burst", prefix: str = "batch") -> Line:
    """BatchJobs, each with a child Job. The operator's writes are those until the last BatchJob is complete."""
    names = [f"{prefix}-{number}" for number in range(count)]
    async with watching(stage.kube, NAMESPACE, JOBS, BATCH_JOBS) as seen:
        writes, cpu, began = stage.writes(), stage.control_plane_cpu(), time.perf_counter()
        own_writes, own_cpu = stage.operator_writes(), stage.operator_cpu()
        await stage.create_all(BATCH_JOBS, [batch_job(name) for name in names])
        created = time.perf_counter()
        await until(lambda: len(seen.batch_jobs_complete) >= count, f"{count} BatchJobs to be complete")
        await until(lambda: len(seen.jobs_complete) >= count, f"{count} child Jobs to be complete")
    return {
        "figure": figure,
        "who": "batchjob",
        "objects": count,
        "created_per_second": count / (created - began),
        "jobs_per_second": count / (max(seen.jobs.values()) - began),
        "complete_seconds": max(seen.batch_jobs_complete.values()) - began,
        "writes": (stage.writes() - writes) / count,
        "control_plane_cpu_ms": 1000 * (stage.control_plane_cpu() - cpu) / count,
        "operator_writes": (stage.operator_writes() - own_writes) / count,
        "operator_cpu_ms": 1000 * (stage.operator_cpu() - own_cpu) / count,
        "operator_rss_mib": rss_mib(stage.operator_pid),
    }
