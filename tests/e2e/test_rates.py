"""Two BatchJobs that share a rate, measured where the mails arrive."""

from bisect import bisect_left
from typing import Any

from tests.support.cluster_jobs import Jobs
from tests.support.manifests import batch_job
from tests.support.neighbours.client import Neighbours

PER_MINUTE = 60
MAILS = 45  # of each: together a minute's worth, and half a minute's until the last pod is at work
PODS = 2  # of each
WINDOW_SECONDS = 60


def test_two_mailings_with_one_key_never_send_more_than_the_limit_in_a_minute(
    jobs: Jobs, neighbours: Neighbours
) -> None:
    names = ("mailing-a", "mailing-b")
    for name in names:
        people = [{"id": f"p{n}", "data": {"email": f"p{n}@{name}.example"}} for n in range(MAILS)]
        block = {
            "smtp": {"host": "neighbours", "port": 2525, "tls": "none"},
            "from": "BatchJob <batch@example.com>",
            "subject": "Hello",
            "text": "This is the text.\n",
            "ratePerMinute": PER_MINUTE,
        }
        jobs.apply(batch_job(name, "email", {"items": people}, block, rateLimitKey="mail", parallelism=PODS))
    for name in names:
        status = jobs.wait_complete(name)
        assert status["counts"]["succeeded"] == MAILS
        assert status["counts"]["retriedAfterLoss"] == 0
    ours = tuple(f"@{name}.example" for name in names)
    arrived = [row for row in neighbours.ledger("smtp") if row["rcpt_tos"][0].endswith(ours)]
    assert len(arrived) == 2 * MAILS
    most = most_in_a_window(after_the_first_of_each_pod(arrived))
    assert most <= PER_MINUTE


def after_the_first_of_each_pod(arrived: list[dict[str, Any]]) -> list[float]:
    """When the others came: a pod's first mail may be on its way for seconds, and the limit allows for two of them."""
    firsts: dict[str, float] = {}
    for row in arrived:
        firsts.setdefault(row["client"].partition(",")[0], row["time"])
    assert len(firsts) == 2 * PODS
    others = sorted(row["time"] for row in arrived if row["time"] > max(firsts.values()))
    assert len(others) > PER_MINUTE, "or this tests nothing"
    return others


def most_in_a_window(times: list[float]) -> int:
    return max(bisect_left(times, at + WINDOW_SECONDS) - place for place, at in enumerate(times))
