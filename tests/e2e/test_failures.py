"""Items that fail: for a while, for ever, or by taking their process with them."""

from typing import Any, Final

from tests.e2e.test_three_types import chat_answers
from tests.support.cluster_jobs import Jobs
from tests.support.manifests import ai_batch, batch_job, email, inline
from tests.support.neighbours.client import Neighbours

CHAOS_IMAGE: Final = "batchjob.local/chaos:dev"
QUICK_RETRY: Final = {"retry": {"backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}}


def test_items_that_meet_a_5xx_are_retried_and_succeed(jobs: Jobs, neighbours: Neighbours) -> None:
    neighbours.set_faults("chat", [{"match": "sentence 1", "action": "status", "status": 503, "times": 2}])
    jobs.apply(ai_batch("flaky", inline(15), **QUICK_RETRY))
    status = jobs.wait_complete("flaky")
    assert status["counts"]["succeeded"] == 15
    assert status["counts"].get("failed", 0) == 0
    assert set(chat_answers(neighbours, jobs.uid("flaky")).values()) == {1}


def test_an_item_that_always_fails_is_a_dead_letter_with_class_and_message(jobs: Jobs, neighbours: Neighbours) -> None:
    neighbours.set_faults("chat", [{"match": "sentence 3", "action": "status", "status": 500, "times": None}])
    jobs.apply(ai_batch("broken", inline(8), **QUICK_RETRY))
    condition = jobs.wait_condition("broken", "Failed", "ItemsFailed")
    status = jobs.status("broken")
    assert "1 of 8 items failed" in condition["message"]
    assert status["phase"] == "Failed"
    assert status["counts"]["succeeded"] == 7
    assert status["failedItems"] == "3"
    assert [(e["itemId"], e["errorClass"]) for e in status["lastErrors"]] == [("i3", "upstream")]
    assert "500" in status["lastErrors"][0]["message"]


def test_a_mail_refused_with_5xx_keeps_the_servers_words(jobs: Jobs, neighbours: Neighbours) -> None:
    refuse = {"match": "no-one@refused.example", "action": "smtp_code", "status": 550, "times": None}
    neighbours.set_faults("smtp", [refuse])
    people = [("ok", "some-one@refused.example"), ("bad", "no-one@refused.example")]
    source = {"items": [{"id": name, "data": {"email": mail, "name": name}} for name, mail in people]}
    jobs.apply(email("refused", source))
    jobs.wait_condition("refused", "Failed", "ItemsFailed")
    (error,) = jobs.status("refused")["lastErrors"]
    assert (error["itemId"], error["errorClass"]) == ("bad", "refused")
    assert "550" in error["message"]


def test_an_item_that_kills_its_process_three_times_is_dead_lettered_and_its_neighbours_finish(jobs: Jobs) -> None:
    source = inline(9)
    source["items"][4]["data"]["do"] = "crash"
    jobs.apply(chaos("poison", source, concurrency=3))
    jobs.wait_condition("poison", "Failed", "ItemsFailed")
    status = jobs.status("poison")
    assert status["counts"]["succeeded"] == 8
    assert status["failedItems"] == "4"
    (error,) = status["lastErrors"]
    assert (error["itemId"], error["errorClass"]) == ("i4", "infrastructure")


def test_an_item_that_kills_a_process_of_the_processors_own_costs_the_pod_and_the_others_nothing(jobs: Jobs) -> None:
    """It runs under the restricted standard and on a read-only root, as all pods of the tests do."""
    source = inline(4)
    source["items"][1]["data"]["do"] = "kill"
    own = {"processor": "own-process", "params": {"journal": "/tmp/journal"}}
    image = {"image": CHAOS_IMAGE}
    jobs.apply(batch_job("computing", "custom", source, own, worker=image, concurrency=2, retry={"maxAttempts": 1}))
    jobs.wait_condition("computing", "Failed", "ItemsFailed")
    status = jobs.status("computing")
    assert (status["counts"]["succeeded"], status["failedItems"], status["jobsCreated"]) == (3, "1", 1)
    assert status["counts"].get("retriedAfterLoss", 0) == 0
    (error,) = status["lastErrors"]
    assert error["errorClass"] == "infrastructure"
    assert "was ended by SIGKILL" in error["message"]


def test_a_processor_of_ones_own_decides_by_exceptions(jobs: Jobs) -> None:
    source = inline(4)
    source["items"][1]["data"]["do"] = "fail"
    source["items"][2]["data"] |= {"do": "retry", "attempts": 3}
    jobs.apply(chaos("own", source))
    jobs.wait_condition("own", "Failed", "ItemsFailed")
    status = jobs.status("own")
    assert status["counts"]["succeeded"] == 3
    assert [(e["itemId"], e["message"]) for e in status["lastErrors"]] == [("i1", "told to fail")]


def chaos(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A BatchJob in the image with a processor of one's own."""
    return batch_job(name, "custom", source, {"processor": "chaos"}, worker={"image": CHAOS_IMAGE}, **spec)
