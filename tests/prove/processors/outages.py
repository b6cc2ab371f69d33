"""The model's server dies in mid-run and comes back: nothing is lost, and waiting for it costs no attempt.

Only a request that it took with it counts as an attempt, since the request may have been what it died of.
"""

import asyncio
import json
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx2

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.items import RunState
from tests.prove.processors.annotations import CONCURRENCY, PODS
from tests.support.ai_runs import ai_spec, asked, results
from tests.support.neighbours.client import local_neighbours
from tests.support.ports import free_port
from tests.support.workers import Workers, ended, wait_for

NAMES: Final = ("a", "b")  # of the pods
THINKING_SECONDS: Final = 0.2  # of the server: so that it dies with requests in its hands
PATIENCE_SECONDS: Final = 600
# How a worker tells of a request that the server took with it; one that never reached it, it tells of otherwise.
TAKEN: Final = (
    "it ends the connection without an answer: check scheme and port",
    "if this stays, check scheme and port",
)


async def trial(workers: Workers, folder: Path, items: int, away_seconds: float) -> dict[str, Any]:
    """The server is away for so long; returns what was counted. AssertionError where the promise does not hold."""
    with local_neighbours(folder) as neighbours:
        neighbours.set_faults("chat", [{"action": "delay", "delay_seconds": THINKING_SECONDS}])
        source = {"configMapRef": {"name": "sentences", "key": "items.jsonl"}}
        retry = {"maxAttempts": 2, "backoff": {"initialDelaySeconds": 0}}
        run = await workers.open(ai_spec(neighbours, source, concurrency=CONCURRENCY, parallelism=PODS, retry=retry))
        lines = (json.dumps({"id": f"i{n}", "text": f"sentence {n}"}) for n in range(items))
        workers.reference(run, "source", items__jsonl="\n".join(lines))
        ports = {name: free_port() for name in NAMES}
        pods = (workers.process(run, name, BATCHJOB_PROBE_PORT=str(port)) for name, port in ports.items())
        await workers.store.pause(run.uid)  # until both are there: one alone could do them all
        with next(pods) as one, next(pods) as two:
            await wait_for(lambda: _all_wait(workers, run), "both pods to be there", PATIENCE_SECONDS)
            await workers.store.resume(run.uid)

            async def both_were_answered() -> bool | None:
                done = (await workers.snapshot(run)).counts.succeeded
                return (done >= items // 4 and all([await _has_done(port) for port in ports.values()])) or None

            await wait_for(both_were_answered, "a quarter of the items, and some of each pod", PATIENCE_SECONDS)
            neighbours.end(signal.SIGKILL)
            before = (await workers.snapshot(run)).counts
            await asyncio.sleep(away_seconds)  # what is tried: an outage of so long
            after = (await workers.snapshot(run)).counts
            with local_neighbours(folder, chat_port=neighbours.ports["chat"]) as back:
                await workers.wait(run, lambda s: s.state is RunState.CLOSED, "the run to end", PATIENCE_SECONDS)
                assert [await ended(one), await ended(two)] == [EXIT_CLOSED] * PODS
                rows = asked(back, run)
    found = await workers.snapshot(run)
    assert (found.counts.succeeded, found.counts.failed) == (items, 0), f"{found}"
    assert before.succeeded < items, "it was done before the server died"
    assert (after.succeeded + after.waiting + after.delayed + after.active, after.failed) == (items, 0)
    spent = [result["batchjob/answer"]["attempt"] - 1 for result in (await results(workers, run)).values()]
    assert len(spent) == items
    # Not "at most as many as were in flight": a server that is being killed still takes connections for some
    # milliseconds, so a place whose request broke off may send it another one.
    why = _reasons(workers, run)
    assert sum(why.values()) == sum(spent)
    assert all(reason.endswith(TAKEN) for reason in why), f"attempts were spent on waiting: {why}"
    return {
        "items": items,
        "lost": 0,
        "away_seconds": round(away_seconds),
        "done_before": before.succeeded,
        "attempts_of_requests_that_died_with_it": sum(spent),
        "attempts_spent_on_waiting": 0,
        "requests_answered": len(rows),
    }


async def _all_wait(workers: Workers, run: Run) -> bool | None:
    """Whether every pod knows of the pause."""
    told = ([line["event"] for line in workers.log(run, name)] for name in NAMES)
    return all("nothing new starts" in events for events in told) or None


async def _has_done(port: int) -> bool:
    """Whether a pod has been answered: one that never was does not know that the server was there."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    found = re.search(r'^batchjob_items_total{outcome="succeeded",.*} (.+)$', metrics, re.MULTILINE)
    return found is not None and float(found[1]) > 0


def _reasons(workers: Workers, run: Run) -> Counter[str]:
    """Of the attempts that count and failed."""
    lines = [line for name in NAMES for line in workers.log(run, name)]
    return Counter(line["error"] for line in lines if line["event"] == "an attempt failed" and line["counts"])
