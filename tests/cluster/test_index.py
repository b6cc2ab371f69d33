"""The operator keeps the index: each BatchJob is found as it is, and none that is gone."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from batchjob.core.queries import parse_query
from batchjob.store.keys import INDEX_PREFIX
from tests.cluster.conftest import AskStore, Operators
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("free_lease")

Shown = Callable[[str, list[str]], None]


@pytest.fixture
def shown(ask_store: AskStore, jobs: Jobs) -> Shown:
    """Waits until a search in this test's namespace finds these names."""

    def find(text: str) -> list[str]:
        query = parse_query(text)
        page = ask_store(lambda store: store.index.search(query, time.time(), namespaces=[jobs.kubectl.namespace]))
        return sorted(row.name for row in page.rows)

    def wait(text: str, names: list[str]) -> None:
        wait_until(lambda: find(text), f"{text!r} to find {names}", until=names.__eq__)

    return wait


def labelled(name: str, **spec: Any) -> dict[str, Any]:
    manifest = noop(name, inline(2), **spec)
    manifest["metadata"]["labels"] = {"team": "search"}
    return manifest


@pytest.mark.usefixtures("pods")
def test_a_batch_job_is_found_as_it_is_until_it_is_gone(operators: Operators, jobs: Jobs, shown: Shown) -> None:
    operators.make().start()
    jobs.apply(labelled("listed", suspend=True), noop("other", inline(1)))
    shown("status:suspended label.team:search age:<1d type:custom", ["listed"])
    jobs.kubectl("label", "batchjob", "listed", "team=mail", "--overwrite")
    shown("label.team:mail", ["listed"])
    jobs.kubectl("patch", "batchjob", "listed", "--type=merge", "--patch", '{"spec": {"suspend": false}}')
    jobs.wait_complete("listed")
    jobs.wait_complete("other")
    shown("status:succeeded reason:Succeeded", ["listed", "other"])
    shown("-status:succeeded", [])
    jobs.kubectl("delete", "batchjob", "listed")
    shown("", ["other"])


def test_an_operator_that_begins_mends_the_index_and_one_that_finds_it_lost_makes_it_again(
    operators: Operators, jobs: Jobs, shown: Shown, redis_server: RedisServer
) -> None:
    operator = operators.make().start()
    jobs.apply(*(labelled(name, suspend=True) for name in ("stays", "goes", "moves")))
    shown("status:suspended", ["goes", "moves", "stays"])
    operator.kill()
    jobs.kubectl("delete", "batchjob", "goes")
    jobs.kubectl("label", "batchjob", "moves", "team=mail", "--overwrite")
    jobs.apply(labelled("comes", suspend=True))
    operator.start()
    shown("", ["comes", "moves", "stays"])
    shown("label.team:mail", ["moves"])
    with Redis.from_url(redis_server.url) as redis:
        redis.delete(*redis.keys(f"{INDEX_PREFIX}*"))
    shown("status:suspended", ["comes", "moves", "stays"])
    assert len(operator.logged("the index is not as it was left: putting every BatchJob into it again")) == 1
