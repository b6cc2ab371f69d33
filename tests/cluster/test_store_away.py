"""The store goes away, comes back without its users or has lost its runs, under an operator that goes on."""

from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from batchjob.core.ranges import Ranges
from tests.cluster.conftest import AskStore
from tests.cluster.test_lifecycle import slow
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import ai_batch, inline, noop
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("operator")


@pytest.mark.usefixtures("pods")
def test_a_store_that_was_restarted_gets_its_users_back_and_the_run_goes_on(
    jobs: Jobs, redis_server: RedisServer, hurry: Path
) -> None:
    jobs.apply(slow("outage", hurry))
    jobs.wait_finished("outage", at_least=3)
    redis_server.kill()
    redis_server.start()
    hurry.touch()
    status = jobs.wait_complete("outage")
    assert status["counts"]["succeeded"] == 200


def test_a_batch_job_created_while_the_store_is_away_says_so_and_starts_when_it_is_back(
    jobs: Jobs, redis_server: RedisServer
) -> None:
    redis_server.kill()
    try:
        jobs.apply(noop("early", inline(1)))
        condition = jobs.wait_condition("early", "Reconciling", "StoreUnavailable")
        assert "does not answer" in condition["message"]
    finally:
        redis_server.start()
    jobs.wait_phase("early", "Running")


def test_a_running_batch_job_says_that_the_store_stays_away(jobs: Jobs, redis_server: RedisServer) -> None:
    jobs.apply(noop("stranded", inline(1)))
    jobs.wait_phase("stranded", "Running")
    redis_server.kill()
    try:
        wait_until(
            lambda: jobs.condition("stranded", "Reconciling"),
            "the store's silence to be said",
            until=lambda condition: condition["reason"] == "StoreUnavailable",
        )
        assert jobs.status("stranded")["phase"] == "Running"
    finally:
        redis_server.start()


def test_a_lost_store_holds_what_has_effects_and_annotates_again_what_has_none(jobs: Jobs, ask_store: AskStore) -> None:
    jobs.apply(noop("effects", inline(2)), ai_batch("annotate", inline(2)))
    first = {name: jobs.wait_phase(name, "Running")["storeEpoch"] for name in ("effects", "annotate")}
    for name in first:
        ask_store(methodcaller("delete_run", jobs.uid(name)))
        jobs.kubectl("annotate", "batchjob", name, "look=again")
    condition = jobs.wait_condition("effects", "Suspended", "StoreLost")
    assert "Set spec.resumeToken to any new text" in condition["message"]

    def rebuilt(status: dict[str, Any]) -> bool:
        return bool(status["storeEpoch"] != first["annotate"] and status["jobsCreated"] == 2)

    wait_until(lambda: jobs.status("annotate"), "the run to begin again", until=rebuilt)
    snapshot = ask_store(methodcaller("snapshot", jobs.uid("annotate")))
    assert snapshot.epoch == jobs.status("annotate")["storeEpoch"]


@pytest.mark.usefixtures("pods")
def test_a_held_run_goes_on_with_what_is_not_certain_once_somebody_says_so(
    jobs: Jobs, ask_store: AskStore, hurry: Path
) -> None:
    jobs.apply(slow("mailing", hurry))
    wait_until(lambda: jobs.status("mailing"), "a checkpoint", until=lambda status: bool(status.get("checkpoint")))
    ask_store(methodcaller("delete_run", jobs.uid("mailing")))
    jobs.kubectl("annotate", "batchjob", "mailing", "look=again")
    jobs.wait_condition("mailing", "Suspended", "StoreLost")
    status = jobs.status("mailing")
    total, certain = status["counts"]["total"], len(Ranges(status["checkpoint"]))
    assert certain
    hurry.touch()
    jobs.kubectl("patch", "batchjob", "mailing", "--type=merge", '--patch={"spec": {"resumeToken": "go on"}}')
    status = jobs.wait_complete("mailing")
    assert (status["counts"]["succeeded"], status["jobsCreated"]) == (total, 2)
    results = ask_store(partial(count_results, uid=jobs.uid("mailing")))
    assert results == total - certain, "what was certain did not run again"
    assert status["results"]["missing"] == certain


async def count_results(store: Any, uid: str) -> int:
    return len([result async for result in store.results(uid)])
