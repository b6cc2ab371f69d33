"""Two BatchJobs that share a rate, measured where the mails arrive."""

from bisect import bisect_left

from tests.support.cluster_jobs import Jobs
from tests.support.manifests import batch_job
from tests.support.neighbours.client import Neighbours

PER_MINUTE = 60
MAILS = 35  # of each: together more than a minute's worth
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
        jobs.apply(batch_job(name, "email", {"items": people}, block, rateLimitKey="mail", parallelism=2))
    for name in names:
        status = jobs.wait_complete(name)
        assert status["counts"]["succeeded"] == MAILS
        assert status["counts"]["retriedAfterLoss"] == 0
    ours = tuple(f"@{name}.example" for name in names)
    arrived = sorted(row["time"] for row in neighbours.ledger("smtp") if row["rcpt_tos"][0].endswith(ours))
    assert len(arrived) == 2 * MAILS
    most = max(bisect_left(arrived, at + WINDOW_SECONDS) - place for place, at in enumerate(arrived))
    assert most <= PER_MINUTE
