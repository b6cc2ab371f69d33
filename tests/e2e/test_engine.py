"""The item engine with real pods: a store that loses its memory, dead letters that are tried again, a delayed start."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from batchjob.core.ranges import Ranges
from tests.e2e.test_three_types import chat_answers
from tests.support.cluster_jobs import Jobs
from tests.support.installation import Installation
from tests.support.kubectl import wait_until
from tests.support.manifests import ai_batch, batch_job, inline, noop
from tests.support.neighbours.client import Neighbours

MAILS = 60
SENTENCES = 300  # half a minute and more: the status is written every 5 s, and the store is to be lost before the end
QUICK_RETRY = {"retry": {"backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}}


def flush(installation: Installation) -> None:
    """The store forgets everything."""
    pod = installation.cluster.items("pods", "-l", "app.kubernetes.io/component=redis")[0]["metadata"]["name"]
    told = installation.cluster("exec", pod, "--", "sh", "-c", 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli FLUSHALL')
    assert told.strip() == "OK"


def test_a_store_that_lost_its_memory_repeats_no_mail_by_itself_and_goes_on_when_told_to(
    jobs: Jobs, neighbours: Neighbours, installation: Installation
) -> None:
    people = [{"id": f"p{n}", "data": {"email": f"p{n}@flushed.example"}} for n in range(MAILS)]
    block = {
        "smtp": {"host": "neighbours", "port": 2525, "tls": "none"},
        "from": "BatchJob <batch@example.com>",
        "subject": "Hello",
        "text": "This is the text.\n",
        "ratePerMinute": 180,
    }
    jobs.apply(batch_job("flushed", "email", {"items": people}, block))
    wait_until(lambda: jobs.status("flushed"), "a checkpoint", until=lambda status: bool(status.get("checkpoint")))
    flush(installation)
    jobs.wait_condition("flushed", "Suspended", "StoreLost")
    sent = received(neighbours)
    certain = Ranges(jobs.status("flushed")["checkpoint"])
    assert 0 < len(certain) <= sent.total() < MAILS
    jobs.kubectl("patch", "batchjob", "flushed", "--type=merge", '--patch={"spec": {"resumeToken": "go on"}}')
    status = jobs.wait_complete("flushed")
    assert status["counts"]["succeeded"] == MAILS
    sent = received(neighbours)
    assert set(sent) == set(range(MAILS)), "somebody got no mail"
    assert not [position for position, times in sent.items() if times > 1 and position in certain]


def received(neighbours: Neighbours) -> Counter[int]:
    """Mails of each person."""
    to = [row["rcpt_tos"][0] for row in neighbours.ledger("smtp")]
    return Counter(int(mail.partition("@")[0][1:]) for mail in to if mail.endswith("@flushed.example"))


def test_a_store_that_lost_its_memory_lets_a_run_without_effects_begin_again_and_says_so(
    jobs: Jobs, neighbours: Neighbours, installation: Installation
) -> None:
    neighbours.set_faults("chat", [{"match": "", "action": "delay", "delay_seconds": 0.5, "times": None}])
    jobs.apply(ai_batch("forgotten", inline(SENTENCES), concurrency=4))
    jobs.wait_finished("forgotten", at_least=8)
    flush(installation)
    neighbours.clear_faults()
    status = jobs.wait_complete("forgotten")
    assert status["counts"]["succeeded"] == SENTENCES
    assert status["counts"]["retriedAfterLoss"] >= 8
    events = jobs.kubectl.items("events", "--field-selector", "involvedObject.name=forgotten,reason=StoreLost")
    assert len(events) == 1
    assert set(chat_answers(neighbours, jobs.uid("forgotten"))) == {f"i{n}" for n in range(SENTENCES)}


def test_dead_letters_are_tried_again_as_a_new_batch_job(jobs: Jobs, neighbours: Neighbours) -> None:
    broken = [{"match": f"sentence {n}", "action": "status", "status": 500, "times": None} for n in (2, 5)]
    neighbours.set_faults("chat", broken)
    jobs.apply(ai_batch("with-failures", inline(8), **QUICK_RETRY))
    jobs.apply(ai_batch("tried-again", {"redriveOf": {"batchJobName": "with-failures"}}))
    jobs.wait_condition("tried-again", "Queued", "DependencyNotMet")
    jobs.wait_condition("with-failures", "Failed", "ItemsFailed")
    neighbours.clear_faults()
    assert jobs.wait_complete("tried-again")["progress"] == "2/2"
    assert chat_answers(neighbours, jobs.uid("tried-again")) == Counter({"i2": 1, "i5": 1})


def test_a_delayed_batch_job_costs_no_pod_before_its_time(jobs: Jobs) -> None:
    after = (datetime.now(UTC) + timedelta(seconds=20)).replace(microsecond=0)
    jobs.apply(noop("delayed", inline(3), startAfter=after.strftime("%Y-%m-%dT%H:%M:%SZ")))
    jobs.wait_condition("delayed", "Queued", "StartAfter")
    status = jobs.wait_complete("delayed")
    assert datetime.fromisoformat(status["startTime"]) >= after
    (job,) = jobs.kubectl.items("jobs", "-l", "batchjob.dev/name=delayed")
    assert datetime.fromisoformat(job["metadata"]["creationTimestamp"]) >= after
