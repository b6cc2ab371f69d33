"""Bad input becomes a condition with a reason and what to do; the operator and the neighbours do not notice."""

import zlib
from collections.abc import Iterator

import pytest

from tests.support.cluster_jobs import Jobs
from tests.support.installation import Installation
from tests.support.manifests import BUCKET, S3_ENDPOINT, ai_batch, batch_job, config_map, inline, noop


def operator_restarts(installation: Installation) -> int:
    """How often the operator's container was started again."""
    pods = installation.cluster.items("pods", "-l", "app.kubernetes.io/component=operator")
    return sum(int(s["restartCount"]) for pod in pods for s in pod["status"].get("containerStatuses", []))


@pytest.fixture(autouse=True)
def the_operator_and_a_neighbour_do_not_notice(
    installation: Installation, jobs: Jobs, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Around each test: the operator is not restarted, and a good job beside the bad one completes."""
    before = operator_restarts(installation)
    good = f"good-{zlib.crc32(request.node.name.encode())}"
    jobs.apply(noop(good, inline(3)))
    yield
    jobs.wait_complete(good)
    assert operator_restarts(installation) == before


def test_a_config_map_that_does_not_exist_stalls_and_heals_when_it_appears(jobs: Jobs) -> None:
    reference = {"configMapRef": {"name": "late", "key": "items.jsonl"}}
    jobs.apply(noop("no-config-map", reference))
    condition = jobs.wait_condition("no-config-map", "Stalled", "ConfigMapNotFound")
    assert "spec.source.configMapRef" in condition["message"]
    jobs.apply(config_map("late", items_jsonl='{"id": "a"}\n{"id": "b"}\n'))
    assert jobs.wait_complete("no-config-map")["progress"] == "2/2"


def test_a_secret_that_does_not_exist_stalls(jobs: Jobs) -> None:
    manifest = ai_batch("no-secret", inline(1))
    manifest["spec"]["aiBatch"]["model"]["apiKeySecretRef"] = {"name": "absent", "key": "OPENAI_API_KEY"}
    jobs.apply(manifest)
    condition = jobs.wait_condition("no-secret", "Stalled", "SecretNotFound")
    assert "spec.aiBatch.model.apiKeySecretRef" in condition["message"]
    assert "absent" in condition["message"]


def test_a_malformed_line_fails_the_run_and_names_the_line(jobs: Jobs) -> None:
    lines = "".join(f'{{"id": "a{n}"}}\n' for n in range(16)) + '{"id": "broken"\n'
    jobs.apply(config_map("malformed", items_jsonl=lines))
    jobs.apply(noop("malformed", {"configMapRef": {"name": "malformed", "key": "items.jsonl"}}))
    condition = jobs.wait_condition("malformed", "Failed", "InvalidSource")
    assert "line 17" in condition["message"]
    assert jobs.status("malformed")["counts"].get("succeeded", 0) == 0


def test_a_source_that_cannot_be_reached_says_so(jobs: Jobs) -> None:
    uri = {
        "url": f"s3://{BUCKET}/items.jsonl",
        "endpoint": "http://nowhere:9000",
        "credentialsSecretRef": {"name": "s3"},
    }
    jobs.apply(noop("unreachable-source", {"uri": uri}, retry={"backoff": {"initialDelaySeconds": 1}}))
    condition = jobs.wait_condition("unreachable-source", "Stalled", "SourceUnreachable")
    assert condition["message"].startswith("spec.source.uri: ")
    assert "nowhere" in condition["message"]


def test_a_source_object_that_is_missing_names_its_url(jobs: Jobs) -> None:
    uri = {"url": f"s3://{BUCKET}/absent.jsonl", "endpoint": S3_ENDPOINT, "credentialsSecretRef": {"name": "s3"}}
    jobs.apply(noop("missing-object", {"uri": uri}, retry={"maxAttempts": 1}))
    condition = jobs.wait_condition("missing-object", "Failed", "SourceUnreachable")
    assert f"s3://{BUCKET}/absent.jsonl" in condition["message"]


def test_an_endpoint_that_cannot_be_reached_is_named_in_the_condition(jobs: Jobs) -> None:
    manifest = ai_batch("unreachable", inline(2), retry={"maxAttempts": 2, "backoff": {"initialDelaySeconds": 0}})
    manifest["spec"]["aiBatch"]["model"]["baseUrl"] = "http://nowhere:8000/v1"
    jobs.apply(manifest)
    condition = jobs.wait_condition("unreachable", "Failed", "ItemsFailed")
    assert "http://nowhere:8000/v1" in condition["message"]


def test_an_image_that_cannot_be_pulled_stalls_with_the_images_name(jobs: Jobs) -> None:
    image = "batchjob.local/absent:none"
    jobs.apply(noop("no-image", inline(1), worker={"image": image}))
    condition = jobs.wait_condition("no-image", "Stalled", "ImagePullFailed")
    assert image in condition["message"]


def test_a_processor_that_the_image_does_not_hold_fails_at_once(jobs: Jobs) -> None:
    jobs.apply(batch_job("no-processor", "custom", inline(1), {"processor": "absent"}))
    condition = jobs.wait_condition("no-processor", "Failed", "WorkerMisconfigured")
    assert "absent" in condition["message"]
    assert "noop" in condition["message"], "the message lists what there is"


def test_a_run_that_reads_another_runs_results_waits_until_that_is_complete(jobs: Jobs) -> None:
    jobs.apply(noop("child", {"resultsOf": {"batchJobName": "parent"}}))
    jobs.wait_condition("child", "Stalled", "BatchJobNotFound")
    jobs.apply(ai_batch("parent", inline(5), suspend=True))
    jobs.wait_condition("child", "Queued", "DependencyNotMet")
    jobs.kubectl("patch", "batchjob", "parent", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    assert jobs.wait_complete("child")["progress"] == "5/5"
