"""What a BatchJob waits for, what makes it impossible, and that it heals by itself where it can."""

import json
from datetime import UTC, datetime, timedelta
from operator import methodcaller
from typing import Any

import pytest

from batchjob.controller.manifests import child_name
from tests.cluster.conftest import AskStore
from tests.cluster.test_pods_in_trouble import take_name
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import Kubectl, KubectlError, wait_until
from tests.support.manifests import S3_SECRET, batch_job, config_map, export, inline, noop
from tests.support.operator_process import OperatorProcess

pytestmark = pytest.mark.usefixtures("operator", "pods")

CRD = "crd/batchjobs.batchjob.dev"


def test_a_config_map_that_is_missing_is_named_and_the_run_starts_when_it_is_there(jobs: Jobs) -> None:
    jobs.apply(noop("late-source", {"configMapRef": {"name": "late", "key": "items.jsonl"}}))
    condition = jobs.wait_condition("late-source", "Stalled", "ConfigMapNotFound")
    assert condition["message"].startswith("spec.source.configMapRef: there is no ConfigMap late in namespace team-")
    jobs.apply(config_map("late", other_jsonl="{}"))
    condition = jobs.wait_condition("late-source", "Stalled", "KeyNotFound")
    assert condition["message"].endswith("has no key items.jsonl; its keys: other.jsonl.")
    jobs.apply(config_map("late", items_jsonl='{"id": "a"}\n{"id": "b"}\n'))
    assert jobs.wait_complete("late-source")["progress"] == "2/2"
    assert jobs.condition("late-source", "Stalled")["status"] == "False"


def test_a_missing_secret_and_a_missing_claim_are_named(jobs: Jobs) -> None:
    worker = {"volumes": [{"claimName": "nowhere", "mountPath": "/data"}]}
    jobs.apply(export("no-secret", inline(1)), noop("no-claim", inline(1), worker=worker))
    condition = jobs.wait_condition("no-secret", "Stalled", "SecretNotFound")
    assert "spec.export.destination.credentialsSecretRef" in condition["message"]
    condition = jobs.wait_condition("no-claim", "Stalled", "ClaimNotFound")
    assert "spec.worker.volumes[0].claimName: there is no PersistentVolumeClaim nowhere" in condition["message"]
    jobs.apply(S3_SECRET)
    wait_until(lambda: jobs.status("no-secret")["phase"], "it to start", timeout=40, until="Pending".__ne__)


def test_a_run_starts_when_its_time_has_come_and_not_before(jobs: Jobs) -> None:
    after = (datetime.now(UTC) + timedelta(seconds=20)).replace(microsecond=0)
    jobs.apply(noop("delayed", inline(2), startAfter=after.strftime("%Y-%m-%dT%H:%M:%SZ")))
    jobs.wait_condition("delayed", "Queued", "StartAfter")
    started = datetime.fromisoformat(jobs.wait_complete("delayed")["startTime"])
    assert started >= after


def test_results_of_another_run_are_waited_for_and_read(jobs: Jobs) -> None:
    jobs.apply(noop("child", {"resultsOf": {"batchJobName": "parent"}}))
    jobs.wait_condition("child", "Stalled", "BatchJobNotFound")
    chaos = batch_job("parent", "custom", inline(5), {"processor": "chaos"}, suspend=True)
    jobs.apply(chaos)
    jobs.wait_condition("child", "Queued", "DependencyNotMet")
    assert jobs.status("child")["phase"] == "Queued"
    resume(jobs, "parent")
    assert jobs.wait_complete("child")["progress"] == "5/5"


def test_results_that_the_store_has_lost_are_said_to_be_gone(jobs: Jobs, ask_store: AskStore) -> None:
    jobs.apply(noop("forgotten", inline(1)))
    jobs.wait_complete("forgotten")
    ask_store(methodcaller("delete_run", jobs.uid("forgotten")))
    jobs.apply(noop("reader", {"resultsOf": {"batchJobName": "forgotten"}}, retry={"maxAttempts": 1}))
    condition = jobs.wait_condition("reader", "Failed", "SourceUnreachable")
    assert "results of BatchJob forgotten are not in the store any more: run it again" in condition["message"]


def test_a_run_whose_parent_failed_fails_and_says_what_to_do(jobs: Jobs) -> None:
    parent = batch_job("bad-parent", "custom", inline(1, do="fail"), {"processor": "chaos"})
    jobs.apply(parent, noop("orphan", {"resultsOf": {"batchJobName": "bad-parent"}}))
    condition = jobs.wait_condition("orphan", "Failed", "DependencyFailed")
    assert "BatchJob bad-parent ended without being Complete" in condition["message"]


def test_what_another_run_gave_up_is_done_again_once_that_one_has_ended(jobs: Jobs) -> None:
    items = [{"id": f"i{n}", "data": {"do": "fail" if n % 2 else "succeed"}} for n in range(5)]
    jobs.apply(noop("redriver", {"redriveOf": {"batchJobName": "failing"}}))
    jobs.wait_condition("redriver", "Stalled", "BatchJobNotFound")
    jobs.apply(batch_job("failing", "custom", {"items": items}, {"processor": "chaos"}, suspend=True))
    condition = jobs.wait_condition("redriver", "Queued", "DependencyNotMet")
    assert condition["message"] == "Waits until BatchJob failing has ended."
    resume(jobs, "failing")
    jobs.wait_condition("failing", "Failed", "ItemsFailed")
    assert jobs.wait_complete("redriver")["progress"] == "2/2"


def test_inline_items_above_64_kib_fail_with_the_way_out(jobs: Jobs) -> None:
    """The API server counts characters and lets these in."""
    source = {"items": [{"id": f"i{n}", "data": {"text": "ü" * 3000}} for n in range(15)]}
    jobs.apply(noop("too-large", source))
    condition = jobs.wait_condition("too-large", "Failed", "InvalidSpec")
    assert "spec.source.items" in condition["message"]
    assert "spec.source.configMapRef" in condition["message"]


def test_a_batch_job_of_a_newer_version_is_a_condition_and_the_others_do_not_notice(
    admin: Kubectl, jobs: Jobs, operator: OperatorProcess
) -> None:
    types = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/type/enum"
    known = admin.get(CRD)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    set_enum(admin, types, [*known["type"]["enum"], "invoice"])
    try:
        manifest = noop("newer", inline(1))
        manifest["spec"] = {"type": "invoice", "source": inline(1)}
        wait_until(lambda: applied(jobs, manifest), "the API server to take the new type")
        condition = jobs.wait_condition("newer", "Stalled", "InvalidSpec")
        assert "spec.type" in condition["message"]
        errors = operator.metric("batchjob_reconcile_errors_total")
        jobs.apply(noop("neighbour", inline(2)))
        assert jobs.wait_complete("neighbour")["progress"] == "2/2"
        assert operator.metric("batchjob_reconcile_errors_total") == errors, "it is not tried again and again"
    finally:
        jobs.delete("newer")
        set_enum(admin, types, known["type"]["enum"])


def test_a_name_that_somebody_else_has_is_said_and_taken_once_it_is_free(jobs: Jobs) -> None:
    jobs.apply(noop("taken", inline(2), suspend=True))
    name = child_name("taken", jobs.uid("taken"), 0)
    take_name(jobs, "taken")
    resume(jobs, "taken")
    condition = jobs.wait_condition("taken", "Stalled", "NameTaken")
    assert f"Job {name}" in condition["message"]
    assert jobs.kubectl.get("job", name)["spec"]["template"]["spec"]["containers"][0]["image"] == "none"
    jobs.kubectl("delete", "job", name)
    assert jobs.wait_complete("taken")["progress"] == "2/2"


def applied(jobs: Jobs, manifest: dict[str, Any]) -> bool:
    """Whether the API server takes it; a changed schema needs a moment."""
    try:
        jobs.apply(manifest)
    except KubectlError:
        return False
    return True


def set_enum(admin: Kubectl, path: str, values: list[str]) -> None:
    patch = [{"op": "replace", "path": path, "value": values}]
    admin("patch", CRD, "--type=json", "-p", json.dumps(patch))


def resume(jobs: Jobs, name: str) -> None:
    jobs.kubectl("patch", "batchjob", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
