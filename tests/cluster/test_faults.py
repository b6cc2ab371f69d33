"""Watches that break between the operator and the API server: each is taken up again, and nothing is missed for good.

Every test has an operator of its own: one whose watch breaks again and again waits longer each time.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchjob.store import Store
from tests.cluster.conftest import SYSTEM, AskStore
from tests.support.cluster_jobs import Jobs
from tests.support.fault_proxy import FaultProxy, status
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("free_lease")

WATCH_BATCH_JOBS = r"WATCH .*/batchjobs$"
WATCH_JOBS = r"WATCH .*/jobs$"
ERROR_EVENT = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is unwell"}})
GONE_EVENT = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})


@pytest.fixture
def proxy(operator_account: Path) -> Iterator[FaultProxy]:
    with FaultProxy(operator_account) as running:
        yield running


@pytest.fixture
def operator(proxy: FaultProxy, redis_server: RedisServer, tmp_path: Path, jobs: Jobs) -> Iterator[OperatorProcess]:
    """An operator that speaks through the proxy, and serves the namespace of this test alone."""
    told = {"pod_namespace": SYSTEM, "watch_namespaces": jobs.kubectl.namespace}
    running = OperatorProcess(proxy.kubeconfig(tmp_path), redis_server.url, tmp_path, **told)
    running.start()
    wait_until(lambda: proxy.open_watches == 7, "the watches of BatchJobs, Jobs, queues and schedules to be open")
    yield running
    running.kill()


def test_what_was_deleted_while_the_watch_was_broken_is_noticed(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs, ask_store: AskStore
) -> None:
    """kopf lists again after a 410 and never says what has gone meanwhile (T1)."""
    jobs.apply(noop("ghost", inline(1)), noop("stays", inline(1)))
    jobs.wait_phase("ghost", "Running")
    uid = jobs.uid("ghost")
    refused = proxy.inject(WATCH_BATCH_JOBS, answer=status(503), times=1000)
    proxy.cut_watches(last=b"")  # kopf goes on with the version it knows; after half a line it would begin anew
    wait_until(lambda: refused.hits, "kopf to be without a watch")
    jobs.delete("ghost")
    gone = proxy.inject(WATCH_BATCH_JOBS, lines=0, end=GONE_EVENT.encode() + b"\n")
    refused.times = refused.hits

    async def left(store: Store) -> set[str]:
        return ((await store.runs()).keys() | await store.user_names()) & {uid}

    wait_until(lambda: gone.hits == 1, "kopf to list again")
    wait_until(lambda: ask_store(left), "the ghost's traces to go", until=lambda found: not found)
    assert operator.process is not None


@pytest.mark.parametrize(
    "fault",
    [
        {"lines": 0, "end": ERROR_EVENT.encode() + b"\n"},
        {"lines": 0, "end": GONE_EVENT.encode() + b"\n"},
        {"lines": 0, "end": b'{"type": "MODIFIED", "obj'},
        {"answer": status(410, "Expired")},
        {"answer": status(404, "NotFound")},
        {"answer": status(401, "Unauthorized")},
        {"answer": status(500, "InternalError")},
        {"answer": status(429, "TooManyRequests", retry_after=1)},
    ],
    ids=["error-500", "error-410", "mid-line", "http-410", "http-404", "http-401", "http-500", "http-429"],
)
def test_a_watch_that_breaks_in_any_way_is_taken_up_again(
    fault: dict[str, object], operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf ends on most of these (T2); our own watch of Jobs meets them three times in a row."""
    jobs.apply(noop("before", inline(1)))
    jobs.wait_phase("before", "Running")
    once, thrice = proxy.inject(WATCH_BATCH_JOBS, **fault), proxy.inject(WATCH_JOBS, times=3, **fault)
    proxy.cut_watches(last=b"")  # as a watch should end: the fault alone is what breaks it
    wait_until(lambda: (once.hits, thrice.hits), "the fault to strike both watches", until=(1, 3).__eq__)
    jobs.apply(noop("after", inline(1)))
    jobs.wait_phase("after", "Running")
    assert operator.process is not None
    assert operator.process.poll() is None


def test_a_stream_cut_in_mid_line_is_not_reopened_like_mad(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf alone reopens it 289 times a second (T10)."""
    cut = proxy.inject(r"WATCH ", lines=0, end=b'{"type": "MODIF', times=10_000)
    before, began = len(proxy.calls), time.monotonic()
    proxy.cut_watches()
    wait_until(lambda: cut.hits >= 4, "some reopenings")
    jobs.apply(noop("through", inline(1)))
    jobs.wait_phase("through", "Running")
    watches = [call for call in proxy.calls[before:] if call.is_watch]
    assert len(watches) <= 3 * (time.monotonic() - began) + 10
    assert operator.process is not None
