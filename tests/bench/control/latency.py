"""One at a time, raw Jobs and BatchJobs in turns: from create to the first pod, and from the Job's end to ours."""

import time

from batchjob.kube import BATCH_JOBS, JOBS, PODS
from tests.bench.control.objects import batch_job, raw_job
from tests.bench.control.stage import NAMESPACE, Stage
from tests.bench.control.watching import until, watching
from tests.bench.figures import Line, percentile


async def latency(stage: Stage, samples: int) -> list[Line]:
    """A line for each of the two, in ms."""
    starts: dict[str, list[float]] = {"job": [], "batchjob": []}
    ends: list[float] = []
    said: list[float] = []
    writes = stage.operator_writes()
    async with watching(stage.kube, NAMESPACE, PODS, JOBS, BATCH_JOBS) as seen:
        for number in range(samples):
            name = f"job-{number}"
            began = time.perf_counter()
            await stage.kube.create(JOBS, NAMESPACE, raw_job(name))
            await until(lambda: name in seen.jobs_complete, f"{name} to be complete")  # noqa: B023 - waited for here
            starts["job"].append(1000 * (seen.pods[name] - began))

            name = f"batchjob-{number}"
            began = time.perf_counter()
            await stage.kube.create(BATCH_JOBS, NAMESPACE, batch_job(name))
            both = (seen.jobs_complete, seen.batch_jobs_complete)
            await until(lambda: all(name in ended for ended in both), f"{name} to be complete")  # noqa: B023 - the same
            starts["batchjob"].append(1000 * (seen.pods[name] - began))
            said.append(1000 * (seen.statuses[name] - began))
            ends.append(1000 * (seen.batch_jobs_complete[name] - seen.jobs_complete[name]))
    ours = {"end_p50_ms": percentile(ends, 50), "end_p99_ms": percentile(ends, 99)}
    ours |= {"status_p50_ms": percentile(said, 50), "status_p99_ms": percentile(said, 99)}
    ours["operator_writes"] = (stage.operator_writes() - writes) / samples
    return [
        {
            "figure": "latency",
            "who": who,
            "samples": samples,
            "p50_ms": percentile(waits, 50),
            "p99_ms": percentile(waits, 99),
            **(ours if who == "batchjob" else {}),
        }
        for who, waits in starts.items()
    ]
