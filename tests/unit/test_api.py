"""The resource models: tolerant at the door, exact inside, and the same words as the examples use."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from batchjob.api.defaults import effective
from batchjob.api.queue import BatchQueue, BatchQueueStatus, QueueDefaults
from batchjob.api.reading import read_leniently
from batchjob.api.run import Purpose, Run, references
from batchjob.api.schedule import BatchSchedule, BatchScheduleStatus
from batchjob.api.source import MEMBERS
from batchjob.api.status import BatchJobStatus, ErrorClass, Phase
from batchjob.api.v1alpha1 import BLOCKS, BatchJob, BatchJobSpec, JobType

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


def batch_jobs(path: Path) -> list[dict[str, Any]]:
    """Those of a file, and what the runs of its BatchSchedules are made from."""
    jobs = [found for found in documents(path) if found["kind"] == "BatchJob"]
    return jobs + [found["spec"]["jobTemplate"] for found in documents(path) if found["kind"] == "BatchSchedule"]


def spec(**fields: Any) -> BatchJobSpec:
    base = {"type": "custom", "custom": {"processor": "noop"}, "source": {"items": [{"id": "a", "data": {"n": 1}}]}}
    return BatchJobSpec.model_validate(base | fields)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_survives_the_way_through_the_model_and_back(path: Path) -> None:
    (found,) = batch_jobs(path)
    parsed = BatchJobSpec.model_validate(found["spec"])
    assert BatchJobSpec.model_validate(parsed.to_json()) == parsed
    assert found["spec"].items() <= _without_defaults(parsed, found["spec"]).items()


def _without_defaults(parsed: BatchJobSpec, like: Any) -> Any:
    return _cut(parsed.to_json(), like)


def _cut(value: Any, like: Any) -> Any:
    """`value` without what `like` does not name."""
    if isinstance(value, dict) and isinstance(like, dict):
        return {name: _cut(value[name], child) for name, child in like.items()}
    if isinstance(value, list) and isinstance(like, list):
        return [_cut(entry, child) for entry, child in zip(value, like, strict=True)]
    return value


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_brings_every_secret_and_configmap_that_its_job_reads(path: Path) -> None:
    present = {(found["kind"], found["metadata"]["name"]) for found in documents(path)}
    keys = {
        (found["kind"], found["metadata"]["name"]): {**found.get("data", {}), **found.get("stringData", {})}
        for found in documents(path)
    }
    for found in batch_jobs(path):
        for reference in references(BatchJobSpec.model_validate(found["spec"])):
            assert (reference.kind, reference.name) in present, reference.field
            assert reference.key is None or reference.key in keys[reference.kind, reference.name], reference.field


def test_all_examples_can_be_applied_beside_each_other() -> None:
    names = Counter((found["kind"], found["metadata"]["name"]) for path in EXAMPLES for found in documents(path))
    assert [name for name, times in names.items() if times > 1] == []


def test_the_examples_show_every_type_and_every_source() -> None:
    specs = [found["spec"] for path in EXAMPLES for found in batch_jobs(path)]
    assert {found["type"] for found in specs} == set(JobType)
    assert {name for found in specs for name in found.get("source", ())} >= set(MEMBERS)


def test_a_newer_object_with_fields_we_do_not_know_is_read() -> None:
    job = BatchJob.parse({"metadata": {"name": "a", "uid": "u"}, "spec": spec().to_json() | {"colour": "red"}})
    assert job.key == ("default", "a")


def test_a_spec_without_its_type_is_refused() -> None:
    with pytest.raises(ValidationError, match="type"):
        BatchJob.parse({"metadata": {"name": "a"}, "spec": {"source": {"items": [{"id": "a", "data": {}}]}}})


def test_a_model_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().parallelism = 3  # type: ignore[misc]


def test_every_type_has_a_block_of_its_own() -> None:
    assert set(BLOCKS) == set(JobType)
    assert set(BLOCKS.values()) <= set(spec().model_json_schema()["properties"])


@pytest.mark.parametrize(
    ("kind", "attempts", "delay_seconds", "timeout_seconds"),
    [("ai-batch", 3, 2, 300), ("export", 2, 2, 120), ("email", 5, 1, 60), ("custom", 3, 2, 300)],
)
def test_the_defaults_in_force_are_those_of_the_type(
    kind: str, attempts: int, delay_seconds: int, timeout_seconds: int
) -> None:
    values = effective(spec(type=kind))
    assert (values.max_attempts, values.initial_delay_seconds, values.item_timeout_seconds) == (
        attempts,
        delay_seconds,
        timeout_seconds,
    )
    assert (values.max_losses, values.max_delay_seconds, values.jitter_percent) == (3, 300, 20)


def test_what_a_spec_says_wins_over_its_type() -> None:
    retry = {"maxAttempts": 9, "maxLosses": 1, "backoff": {"strategy": "fixed", "initialDelaySeconds": 0}}
    values = effective(spec(retry=retry, itemTimeoutSeconds=7))
    assert (values.max_attempts, values.max_losses, values.item_timeout_seconds) == (9, 1, 7)
    assert (values.backoff_strategy, values.initial_delay_seconds) == ("fixed", 0)


def test_an_error_class_has_what_its_entry_says_else_what_the_run_does() -> None:
    retry = {
        "maxAttempts": 4,
        "backoff": {"initialDelaySeconds": 7},
        "perErrorClass": [
            {"errorClass": "timeout", "maxAttempts": 2},
            {"errorClass": "upstream", "backoff": {"strategy": "fixed", "initialDelaySeconds": 900}},
        ],
    }
    force = effective(spec(retry=retry))
    timeout, upstream = force.after(ErrorClass.TIMEOUT), force.after(ErrorClass.UPSTREAM)
    assert (timeout.max_attempts, timeout.initial_delay_seconds, timeout.max_delay_seconds) == (2, 7, 300)
    assert (upstream.max_attempts, upstream.backoff_strategy, upstream.jitter_percent) == (4, "fixed", 20)
    assert (upstream.initial_delay_seconds, upstream.max_delay_seconds) == (900, 900), "a default cuts no wait"
    assert force.after(ErrorClass.INTERNAL) is force
    assert effective(spec()).per_error_class is None


def test_a_wait_is_cut_by_the_longest_one_only_where_somebody_named_that() -> None:
    assert effective(spec(retry={"backoff": {"initialDelaySeconds": 1800}})).max_delay_seconds == 1800
    both = {"initialDelaySeconds": 1800, "maxDelaySeconds": 60}
    assert effective(spec(retry={"backoff": both})).max_delay_seconds == 60


def test_every_reference_of_a_spec_is_found_with_its_field_and_purpose() -> None:
    place = {
        "url": "s3://bucket/folder",
        "credentialsSecretRef": {"name": "keys"},
        "caBundleRef": {"name": "ca", "key": "ca.crt"},
    }
    model = {"name": "m", "apiKeySecretRef": {"name": "llm", "key": "OPENAI_API_KEY"}}
    model |= {"headersSecretRef": {"name": "headers"}}
    form = {"name": "forms", "key": "mood.json"}
    smtp = {"host": "mail", "credentialsSecretRef": {"name": "login"}}
    found = references(
        spec(
            source={"uri": place},
            results={"destination": place, "table": {"name": "t", "dsnSecretRef": {"name": "db", "key": "dsn"}}},
            export={"destination": place},
            aiBatch={"instructions": "i", "formSchemaRef": form, "model": model},
            email={
                "smtp": smtp,
                "from": "a@b",
                "subject": "s",
                "text": "t",
                "files": place,
                "suppression": {"secretRef": {"name": "off", "key": "list"}},
            },
        )
    )
    in_a_file = references(spec(source={"configMapRef": {"name": "items", "key": "items.csv"}}))
    in_a_secret = references(spec(source={"secretRef": {"name": "items", "key": "items.csv"}}))
    assert {reference.purpose for reference in [*found, *in_a_file]} == set(Purpose)
    assert len(found) == len({reference.field for reference in found})
    assert in_a_file[0][:3] == ("ConfigMap", "items", "items.csv")
    assert in_a_secret == [("Secret", "items", "items.csv", Purpose.SOURCE, "spec.source.secretRef")]


def test_a_run_survives_the_way_to_its_pod() -> None:
    run = Run(uid="u", namespace="n", name="a", epoch="e", spec=spec(), effective=effective(spec()))
    assert Run.model_validate_json(run.model_dump_json(by_alias=True, exclude_none=True)) == run


def test_every_value_in_force_says_where_it_came_from() -> None:
    queue = QueueDefaults.model_validate({"priority": 4, "retry": {"maxAttempts": 9, "backoff": {"jitterPercent": 1}}})
    of_class = {"errorClass": "timeout", "maxAttempts": 1}
    own = spec(owner="ann", retry={"maxAttempts": 2, "perErrorClass": [of_class]}, itemTimeoutSeconds=9)
    values = effective(own, queue)
    assert values.origins == {
        "backoffStrategy": "type",
        "initialDelaySeconds": "type",
        "itemTimeoutSeconds": "spec",
        "jitterPercent": "queue",
        "maxAttempts": "spec",
        "maxDelaySeconds": "type",
        "maxLosses": "type",
        "owner": "spec",
        "priority": "queue",
        "queue": "type",
    }
    assert set(values.origins) == set(values.to_json()) - {"origins", "perErrorClass"}
    assert values.per_error_class
    [timeout] = values.per_error_class
    assert (timeout.origins["maxAttempts"], timeout.origins["jitterPercent"]) == ("spec", "queue")
    assert "owner" not in effective(spec()).origins


def test_a_cap_that_a_longer_first_wait_raises_comes_from_whoever_named_the_wait() -> None:
    values = effective(spec(retry={"backoff": {"initialDelaySeconds": 1800}}))
    assert (values.max_delay_seconds, values.origins["maxDelaySeconds"]) == (1800, "spec")
    shorter = effective(spec(retry={"backoff": {"initialDelaySeconds": 3}}))
    assert (shorter.max_delay_seconds, shorter.origins["maxDelaySeconds"]) == (300, "type")


DELIVERY: dict[str, Any] = {"to": "webhooks[0]", "state": "Delivered"}
NOTICE: dict[str, Any] = {
    "id": "msg_1", "event": "batch.failed", "time": "2026-01-01T00:00:00Z", "reason": "R", "deliveries": [DELIVERY],
}  # fmt: skip
NEWER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"notifications": [NOTICE, NOTICE | {"event": "batch.begun"}]}, {"notifications": [NOTICE]}),
    (
        {"notifications": [NOTICE | {"deliveries": [DELIVERY | {"state": "Parked"}]}, NOTICE]},
        {"notifications": [NOTICE]},
    ),
    ({"effective": {"queue": "q"}, "progress": "3/9"}, {"progress": "3/9"}),
    ({"phase": "Resting", "checkpoint": "0-7"}, {"checkpoint": "0-7"}),
    ({"usage": {"emailsSent": 1, "n" * 65: 2}, "duration": "3s"}, {"duration": "3s"}),
]


@pytest.mark.parametrize(("written", "read"), NEWER)
def test_a_status_of_a_newer_version_is_read_as_far_as_it_can_be(written: dict[str, Any], read: dict[str, Any]) -> None:
    """Else a run whose spec is as it was would stand still, and lose its checkpoint."""
    known = {"storeEpoch": "e1", "startTime": "2026-01-01T00:00:00Z"}
    body = {"metadata": {"name": "job"}, "spec": spec().to_json(), "status": known | written}
    status = BatchJob.parse(body).status
    assert status == BatchJobStatus.model_validate(known | read)
    assert status.phase is Phase.PENDING


def test_a_spec_of_a_newer_version_is_not_read_whatever_the_status_says() -> None:
    body = {"metadata": {"name": "job"}, "spec": spec().to_json() | {"type": "dream"}, "status": NEWER[0][0]}
    with pytest.raises(ValidationError, match="spec"):
        BatchJob.parse(body)
    with pytest.raises(ValidationError):
        BatchJob.parse([])
    assert read_leniently(BatchJobStatus, []) is None


TEMPLATE = {"schedules": ["0 9 * * 1"], "jobTemplate": {"spec": spec().to_json()}}


@pytest.mark.parametrize(
    ("kind", "of"), [(BatchJob, spec().to_json()), (BatchSchedule, TEMPLATE), (BatchQueue, {"maxActiveJobs": 1})]
)
def test_what_the_api_server_says_of_an_object_that_nobody_has_looked_at_is_no_status(kind: Any, of: Any) -> None:
    body = {"metadata": {"name": "new"}, "spec": of, "status": {"observedGeneration": -1}}
    assert kind.parse(body).status is None
    assert kind.parse(body | {"status": {"observedGeneration": 0}}).status.observed_generation == 0


CONDITION = {
    "type": "Stalled", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"cronJobs": [{"name": "a"}], "activeRuns": 2}, {"activeRuns": 2}),
        ({"conditions": [CONDITION | {"status": "Perhaps"}, CONDITION]}, {"conditions": [CONDITION]}),
        ({"activeRuns": "many", "active": ["a-1"]}, {"active": ["a-1"]}),
        ("none", {}),
        ([], {}),
    ],
    ids=str,
)
def test_a_status_of_a_schedule_is_read_as_far_as_it_can_be(written: Any, read: dict[str, Any]) -> None:
    found = BatchSchedule.parse({"metadata": {"name": "weekly"}, "spec": TEMPLATE, "status": written})
    assert (found.status or BatchScheduleStatus()) == BatchScheduleStatus.model_validate(read)
    with pytest.raises(ValidationError, match="schedules"):
        BatchSchedule.parse({"metadata": {"name": "weekly"}, "spec": TEMPLATE | {"schedules": 7}, "status": written})


@pytest.mark.parametrize(
    ("written", "read"),
    [({"waiting": -1, "active": 3}, {"active": 3}), ({"throughput": "9" * 17, "active": 3}, {"active": 3}), (7, {})],
    ids=str,
)
def test_a_status_of_a_queue_is_read_as_far_as_it_can_be(written: Any, read: dict[str, Any]) -> None:
    found = BatchQueue.parse({"metadata": {"name": "slow"}, "spec": {"maxActiveJobs": 1}, "status": written})
    assert (found.status or BatchQueueStatus()) == BatchQueueStatus.model_validate(read)
    with pytest.raises(ValidationError, match="maxActiveJobs"):
        BatchQueue.parse({"metadata": {"name": "slow"}, "spec": {"maxActiveJobs": "x"}, "status": written})
