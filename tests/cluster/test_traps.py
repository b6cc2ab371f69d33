"""kopf's ten traps, in order: test_tN holds trap TN of docs/decisions/0007-kopf-watches-and-nothing-more.md.

Each was reproduced with kopf 1.45.2; what we do about it is switched off once, by hand, to see its test fail.
Every test has an operator of its own: one whose watch breaks again and again waits longer each time.
"""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CustomObjectsApi

from batchjob.controller.handlers import build_registry
from batchjob.controller.supervisor import build_settings
from batchjob.kube import Access
from batchjob.kube.client import MAX_TRIES
from tests.cluster.conftest import SYSTEM, AskStore, Operators, runs_and_users
from tests.cluster.test_lifecycle import child_jobs, events
from tests.support.cluster_jobs import BATCH_JOBS, Jobs, api_client
from tests.support.fault_proxy import HALF_A_LINE, FaultProxy, status
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("free_lease")

WATCH_BATCH_JOBS = r"WATCH .*/batchjobs$"
LIST_BATCH_JOBS = r"GET .*/batchjobs$"
WATCH_JOBS = r"WATCH .*/jobs$"
ERROR_EVENT = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is unwell"}})
GONE_EVENT = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})
GONE = {"lines": 0, "end": GONE_EVENT.encode() + b"\n"}
EDITS = 100
DEPTH = 2000
DEEPEST_STORED = 9000  # the API server refuses JSON of more than 10,000 levels
ANNOTATIONS_BYTES = 256 * 1024  # of one object, all together
KOPF_STOPS_SECONDS = 5  # by itself, after SIGTERM


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


def test_t1_what_was_deleted_while_the_watch_was_broken_is_noticed(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf lists again after a 410 and never says what has gone meanwhile. It has no Job that would tell."""
    jobs.apply(noop("ghost", inline(1), suspend=True), noop("reader", {"resultsOf": {"batchJobName": "ghost"}}))
    jobs.wait_condition("reader", "Queued", "DependencyNotMet")
    refused = proxy.inject(WATCH_BATCH_JOBS, answer=status(503), times=1000)
    proxy.cut_watches(last=b"")  # kopf goes on with the version it knows; after half a line it would begin anew
    wait_until(lambda: refused.hits, "kopf to be without a watch")
    jobs.delete("ghost")
    gone = proxy.inject(WATCH_BATCH_JOBS, **GONE)
    refused.times = refused.hits
    wait_until(lambda: gone.hits == 1, "kopf to list again")
    jobs.wait_condition("reader", "Stalled", "BatchJobNotFound")
    assert operator.process is not None


@pytest.mark.parametrize(
    "fault",
    [
        {"lines": 0, "end": ERROR_EVENT.encode() + b"\n"},
        GONE,
        {"lines": 0, "end": HALF_A_LINE},
        {"answer": status(410, "Expired")},
        {"answer": status(404, "NotFound")},
        {"answer": status(401, "Unauthorized")},
        {"answer": status(500, "InternalError")},
        {"answer": status(429, "TooManyRequests", retry_after=1)},
    ],
    ids=["error-500", "error-410", "mid-line", "http-410", "http-404", "http-401", "http-500", "http-429"],
)
def test_t2_a_watch_that_breaks_in_any_way_is_taken_up_again(
    fault: dict[str, object], operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf ends on most of these; our own watch of Jobs meets them three times in a row."""
    jobs.apply(noop("before", inline(1)))
    jobs.wait_phase("before", "Running")
    once, thrice = proxy.inject(WATCH_BATCH_JOBS, **fault), proxy.inject(WATCH_JOBS, times=3, **fault)
    proxy.cut_watches(last=b"")  # as a watch should end: the fault alone is what breaks it
    wait_until(lambda: (once.hits, thrice.hits), "the fault to strike both watches", until=(1, 3).__eq__)
    still_serves(operator, jobs)


@pytest.mark.usefixtures("pods")
def test_t2_a_job_that_ended_while_the_watch_was_silent_stays_for_its_logs(
    proxy: FaultProxy, redis_server: RedisServer, tmp_path: Path, jobs: Jobs
) -> None:
    """As we know it, it still has a slot that never got a pod: such a Job goes once nobody can be at work any more.

    Until then it has to have moved on behind our back, however busy the machine is.
    """
    told = {"pod_namespace": SYSTEM, "watch_namespaces": jobs.kubectl.namespace, "linger_seconds": 5}
    with OperatorProcess(proxy.kubeconfig(tmp_path), redis_server.url, tmp_path, **told):
        wait_until(lambda: proxy.open_watches == 7, "the watches to be open")
        silence = proxy.inject(WATCH_JOBS, lines=0, stall=True)
        proxy.cut_watches(last=b"")
        wait_until(lambda: silence.hits, "the watch of Jobs to be silent")
        jobs.apply(noop("done", inline(1)))
        jobs.wait_complete("done")
        wait_until(lambda: proxy.count("DELETE .*/jobs/"), "the operator to give up what it takes for a slot")
        wait_until(lambda: child_jobs(jobs, "done")[0]["status"].get("succeeded"), "its pod to be counted")
        proxy.cut_watches(last=b"")
        wait_until(lambda: jobs.kubectl.items("secrets"), "the run's Secret to go", until=lambda left: not left)
        assert len(child_jobs(jobs, "done")) == 1


@pytest.mark.parametrize("code", [403, 410], ids=["forbidden", "the-version-of-a-page-is-too-old"])
def test_t2_a_list_that_fails_is_made_again(
    code: int, operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf ends on these, and on any other once it has tried for a minute."""
    refused = proxy.inject(LIST_BATCH_JOBS, answer=status(code), times=2)
    proxy.inject(WATCH_BATCH_JOBS, **GONE)
    proxy.cut_watches(last=b"")
    wait_until(lambda: refused.hits == 2, "kopf to have ended twice")
    still_serves(operator, jobs)


def test_t3_a_hundred_events_during_a_look_are_one_look_more(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf calls a handler for each event."""
    looks: list[float] = []

    def all_came_during_a_look() -> bool:
        before = operator.metric("batchjob_reconcile_seconds_count")
        was_held = edit_during_a_look(proxy, jobs, f"busy-{len(looks)}")
        looks.append(operator.metric("batchjob_reconcile_seconds_count") - before)
        return was_held

    wait_until(all_came_during_a_look, "a look that lasts longer than the edits")
    assert looks[-1] <= EDITS / 5


def test_t3_a_look_that_fails_is_made_again_though_nothing_happens(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf swallows what a handler of events raises."""
    refused = proxy.inject(r"PATCH .*/batchjobs/.*/status$", answer=status(500), times=2 * MAX_TRIES)
    jobs.apply(noop("lonely", inline(1), suspend=True))
    jobs.wait_condition("lonely", "Suspended", "SuspendedByUser")
    assert refused.hits == refused.times
    assert operator.metric("batchjob_reconcile_errors_total") == 2


def test_t4_kopf_keeps_nothing_of_what_it_sees() -> None:
    """Its index costs 153 s of CPU at the start over 5,000 objects, four times that over 10,000."""
    registry = build_registry(Access("http://127.0.0.1"), lambda *_: None)
    used = {name for name, part in vars(registry).items() if part.get_all_handlers()}
    assert used == {"_activities", "_watching"}, "the login, and what hears of events"


def test_t5_a_leader_that_stops_gives_the_lease_to_the_next(operators: Operators, jobs: Jobs, admin: Kubectl) -> None:
    """kopf's peering lets both pause where their priorities are equal."""
    for_ever = {"lease_seconds": 3600, "lease_renew_seconds": 3000}  # nobody waits for its end
    first = operators.make("first", **for_ever).start()
    wait_for_holder(admin, "first")
    second = operators.make("second", **for_ever).start()
    asked = "batchjob_api_requests_total"
    wait_until(lambda: second.metric(asked, verb="get") >= 3, "the second to have looked at the Lease a few times")
    assert (first.metric("batchjob_is_leader"), second.metric("batchjob_is_leader")) == (1, 0)
    assert first.stop() == 0
    wait_for_holder(admin, "second")
    jobs.apply(noop("led-by-second", inline(1)))
    jobs.wait_phase("led-by-second", "Running")


def test_t5_a_leader_that_dies_is_followed_when_its_lease_is_over(
    operators: Operators, admin: Kubectl, jobs: Jobs
) -> None:
    times = {"lease_seconds": 3, "lease_renew_seconds": 2}
    first = operators.make("first", **times).start()
    wait_for_holder(admin, "first")
    operators.make("second", **times).start()
    first.kill()
    wait_for_holder(admin, "second")
    jobs.apply(noop("after-death", inline(1)))
    jobs.wait_phase("after-death", "Running")


def test_t6_a_value_of_two_thousand_levels_kills_nobody(operator: OperatorProcess, jobs: Jobs) -> None:
    """Without a schema that cuts it off it ends the process, again at every start."""
    manifest = noop("deep", inline(1))
    manifest["spec"]["extra"] = "<deep>"
    text = json.dumps(manifest).replace('"<deep>"', "[" * DEPTH + "]" * DEPTH)
    jobs.kubectl("create", "--validate=ignore", "-f", "-", stdin=text)
    jobs.wait_phase("deep", "Running")
    assert "extra" not in jobs.get("deep")["spec"]
    still_serves(operator, jobs)


def test_t6_nor_do_metadata_of_nine_thousand_levels(
    operator: OperatorProcess, jobs: Jobs, admin: Kubectl, tmp_path: Path
) -> None:
    """No schema looks at `managedFields`, and the API server keeps what it is given at a creation."""
    held = noop("held", inline(1), suspend=True)
    fields = {"manager": "any", "operation": "Update", "apiVersion": held["apiVersion"], "fieldsType": "FieldsV1"}
    held["metadata"]["managedFields"] = [fields | {"fieldsV1": "<deep>"}]
    deep = '{"f:a":' * DEEPEST_STORED + "{}" + "}" * DEEPEST_STORED
    (tmp_path / "held.json").write_text(json.dumps(held).replace('"<deep>"', deep))
    path = f"/apis/{held['apiVersion']}/namespaces/{jobs.kubectl.namespace}/batchjobs"
    admin("create", "--raw", path, "-f", str(tmp_path / "held.json"))
    assert admin("get", "--raw", f"{path}/held").count('"f:a"') == DEEPEST_STORED, "or this tests nothing"
    jobs.kubectl("wait", "batchjob/held", "--for=condition=Suspended", "--timeout=60s")  # told by the watch
    operator.stop()
    operator.start()
    jobs.kubectl("patch", "batchjob", "held", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    jobs.kubectl("wait", "batchjob/held", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")  # and by a list
    still_serves(operator, jobs)


def test_t7_annotations_hide_no_object_and_none_is_written(
    proxy: FaultProxy, operator: OperatorProcess, jobs: Jobs
) -> None:
    """kopf writes the whole object into one, which fails above 256 KiB, and believes those that a user set."""
    hidden = noop("hidden", inline(1))
    kopfs = {"kopf.zalando.org/last-handled-configuration": json.dumps({"spec": hidden["spec"]})}
    full = {"notes": "x" * (ANNOTATIONS_BYTES - len("notes"))}
    create(jobs, hidden, kopfs)
    create(jobs, noop("full", inline(1)), full)
    jobs.wait_phase("hidden", "Running")
    jobs.wait_phase("full", "Running")
    assert (annotations(jobs, "hidden"), annotations(jobs, "full")) == (kopfs, full)
    assert operator.process is not None
    assert proxy.count(r"(PATCH|PUT) .*/batchjobs/[^/]+$") == 0


def test_t8_the_status_is_one_write_and_a_crash_before_it_loses_nothing(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf writes body and status one after the other, and what a crash in between loses is not made good."""
    crash = proxy.inject(r"PATCH .*/batchjobs/.*", strike=operator.kill)
    jobs.apply(noop("told", inline(1)))
    wait_until(lambda: crash.hits and operator.process is None, "the operator to be killed")
    operator.start()
    found = jobs.wait_phase("told", "Running")
    assert [found["jobsCreated"], len(child_jobs(jobs, "told"))] == [1, 1]
    jobs.kubectl("patch", "batchjob", "told", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    jobs.wait_condition("told", "Suspended", "SuspendedByUser")
    # The one that the crash kept back, Running, Suspended; and one for each count of pods that the Job tells.
    assert 3 <= proxy.count(r"PATCH .*/batchjobs/told/status$") <= 5
    assert proxy.count(r"(PATCH|PUT) .*/batchjobs/told$") == 0


def test_t9_what_is_deleted_while_no_operator_runs_goes_at_once_and_is_swept(
    operators: Operators, jobs: Jobs, ask_store: AskStore
) -> None:
    """A finalizer would hold it until an operator comes, and for ever where the answer to its removal is lost."""
    operators.make().start()
    jobs.apply(noop("left-behind", inline(1)), noop("alive", inline(1)))
    uids = {name: jobs.uid(name) for name in ("left-behind", "alive")}
    for name in uids:
        jobs.wait_phase(name, "Running")
    operators.kill_all()
    jobs.delete("left-behind")
    operators.make().start()

    def left() -> set[str]:
        found: set[str] = ask_store(runs_and_users)
        return found & set(uids.values())

    wait_until(left, "the orphan to be swept", until={uids["alive"]}.__eq__)


@pytest.mark.parametrize("end", [HALF_A_LINE, b""], ids=["in-mid-line", "at-once"])
def test_t10_a_stream_that_ends_too_early_is_not_reopened_like_mad(
    end: bytes, operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    """kopf alone reopens it 289 times a second, or as often as it is answered."""
    cut = proxy.inject(r"WATCH ", lines=0, end=end, times=10_000)
    before, began = len(proxy.calls), time.monotonic()
    watches = proxy.open_watches
    proxy.cut_watches(last=end)

    def opened() -> Counter[str]:
        return Counter(call.path for call in proxy.calls[before:] if call.is_watch)

    def all_were_reopened() -> bool:
        found = opened()
        return len(found) == watches and min(found.values()) >= 3

    wait_until(all_were_reopened, "some reopenings of each")
    assert max(opened().values()) <= time.monotonic() - began + 6, "after a few times at most once a second"
    cut.times = cut.hits
    still_serves(operator, jobs)


def test_t10_a_watch_that_falls_silent_is_noticed(operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs) -> None:
    """It was cut somewhere on the way, and neither end knows: a minute, for watches end by themselves before that."""
    silent = [proxy.inject(watch, lines=0, stall=True) for watch in (WATCH_BATCH_JOBS, WATCH_JOBS)]
    proxy.cut_watches(last=b"")
    wait_until(lambda: all(fault.hits for fault in silent), "both watches to be silent")
    jobs.apply(noop("unheard", inline(1)))
    jobs.wait_phase("unheard", "Running")
    [job] = child_jobs(jobs, "unheard")
    jobs.kubectl("delete", "job", job["metadata"]["name"])
    wait_until(lambda: jobs.status("unheard")["jobsCreated"], "another Job in its place", until=(2).__eq__)
    assert operator.process is not None


def test_t10_kopf_neither_throttles_nor_posts_nor_holds_up_the_end(operator: OperatorProcess, jobs: Jobs) -> None:
    """A limit of its workers makes a start 42 objects a second; it posts what it logs, and takes 5 s to stop."""
    assert build_settings().queueing.worker_limit is None
    jobs.apply(noop("quiet", inline(1), suspend=True))
    jobs.wait_condition("quiet", "Suspended", "SuspendedByUser")
    assert events(jobs, "quiet") == [("Normal", "SuspendedByUser")], "ours, and no other"
    assert operator.process is not None
    operator.process.send_signal(signal.SIGTERM)
    assert operator.process.wait(KOPF_STOPS_SECONDS) == 0


def still_serves(operator: OperatorProcess, jobs: Jobs) -> None:
    """The process that was there before serves a BatchJob that is new."""
    jobs.apply(noop("after", inline(1)))
    jobs.wait_phase("after", "Running")
    assert operator.process is not None
    assert operator.process.poll() is None


def edit_during_a_look(proxy: FaultProxy, jobs: Jobs, name: str) -> bool:
    """Edit a new BatchJob while the operator makes its Job; whether that was held up until the last edit."""
    all_edited, was_held = threading.Event(), list[bool]()
    # And then there is no answer. No longer: the operator would give the call up.
    held = proxy.inject(r"POST .*/jobs$", strike=lambda: was_held.append(all_edited.wait(9)))
    jobs.apply(noop(name, inline(1)))
    wait_until(lambda: held.hits, "a look to be under way", every=0.02)
    for number in range(EDITS):
        annotate(jobs, name, number=str(number))
    all_edited.set()
    jobs.wait_phase(name, "Running")
    return was_held == [True]


def annotate(jobs: Jobs, name: str, **annotations: str) -> None:
    """An edit, without a kubectl for each."""
    body = {"metadata": {"annotations": annotations}}
    api = CustomObjectsApi(api_client(jobs.kubectl.kubeconfig))
    api.patch_namespaced_custom_object(*BATCH_JOBS, jobs.kubectl.namespace, "batchjobs", name, body)


def create(jobs: Jobs, manifest: dict[str, Any], annotations: dict[str, str]) -> None:
    """Without the annotation of kubectl's own."""
    body = manifest | {"metadata": {"name": manifest["metadata"]["name"], "annotations": annotations}}
    api = CustomObjectsApi(api_client(jobs.kubectl.kubeconfig))
    api.create_namespaced_custom_object(*BATCH_JOBS, jobs.kubectl.namespace, "batchjobs", body)


def annotations(jobs: Jobs, name: str) -> dict[str, str]:
    found: dict[str, str] = jobs.get(name)["metadata"].get("annotations", {})
    return found


def wait_for_holder(admin: Kubectl, name: str) -> None:
    def holder() -> str:
        found = admin.within(SYSTEM)(
            *("get", "lease", "batchjob-operator", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
        )
        return found.strip()

    wait_until(holder, f"{name} to hold the Lease", until=name.__eq__)
