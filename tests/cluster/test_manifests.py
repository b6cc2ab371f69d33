"""What `kubectl apply` accepts and refuses, asked of a real API server: CEL and its cost limits live only there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from batchjob.api.blocks.ai_batch import AiBatch
from tests.support.kubectl import Kubectl, KubectlError
from tests.support.manifests import ai_batch, inline, noop

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parents[1] / "examples").glob("*.yaml"))
BAD = sorted((HERE / "manifests" / "bad").glob("*.yaml"))
EXPECT = "# expect: "
OPENAPI = "/openapi/v3/apis/batchjob.dev/v1alpha1"


def by_name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", BAD, ids=by_name)
def test_a_bad_manifest_is_refused_with_words_that_name_the_field(admin: Kubectl, path: Path) -> None:
    text = path.read_text()
    expected = [line.removeprefix(EXPECT) for line in text.splitlines() if line.startswith(EXPECT)]
    *accepted, refused = text.split("\n---\n")
    for document in accepted:
        admin("apply", "-f", "-", stdin=document)
    with pytest.raises(KubectlError) as error:
        admin("apply", "-f", "-", stdin=refused)
    assert expected, f"{path.name} does not say what to expect"
    for words in expected:
        assert words in str(error.value)


def test_1001_inline_items_are_refused(admin: Kubectl) -> None:
    with pytest.raises(KubectlError, match=r"spec\.source\.items: Too many: 1001: must have at most 1000 items"):
        admin.apply(noop("too-many", inline(1001)))


@pytest.mark.parametrize("path", EXAMPLES, ids=by_name)
def test_every_example_is_accepted(admin: Kubectl, path: Path) -> None:
    assert "server dry run" in admin("apply", "--dry-run=server", "-f", path)


def test_a_change_of_suspend_and_parallelism_is_accepted_in_mid_run(admin: Kubectl) -> None:
    admin.apply(noop("changing", inline(2)))
    admin.apply(noop("changing", inline(2), suspend=True, parallelism=3))
    assert admin.get("batchjob", "changing")["spec"]["parallelism"] == 3


def test_every_policy_may_be_added_changed_and_taken_away_in_mid_run(admin: Kubectl) -> None:
    policies = {
        "failurePolicy": {"maxFailedPercent": 10},
        "successPolicy": {"minSucceededPercent": 90},
        "activeDeadlineSeconds": 60,
        "retention": {"completedSeconds": 0},
        "ttlSecondsAfterFinished": 0,
    }
    for spec in ({}, policies, policies | {"failurePolicy": {"action": "Fail"}, "activeDeadlineSeconds": 90}, {}):
        admin.apply(noop("lenient", inline(1), **spec))
    assert "failurePolicy" not in admin.get("batchjob", "lenient")["spec"]


FIXED: dict[str, Any] = {
    "instructions": "Say something else.",
    "prompt": "{{ text }}",
    "examples": [{"data": {"text": "Fine."}, "answer": "{}"}],
    "formSchema": {"fields": [{"name": "other", "type": "string"}]},
    "formSchemaRef": {"name": "forms", "key": "order.json"},
    "model": {"name": "another"},
    "itemsPerRequest": 2,
    "cache": {"ttlSeconds": 60},
}


def annotating(name: str, **fields: Any) -> dict[str, Any]:
    """A BatchJob with these fields in its aiBatch; None: without it."""
    job = ai_batch(name, inline(1))
    block = job["spec"]["aiBatch"] | fields
    job["spec"]["aiBatch"] = {name: value for name, value in block.items() if value is not None}
    return job


def test_the_budget_of_an_ai_batch_may_change_at_any_time_and_nothing_else_of_it(admin: Kubectl) -> None:
    assert {to_camel(name) for name in AiBatch.model_fields} - {"budget"} == FIXED.keys()
    for budget in (None, {"tokens": 5}, {"tokens": 10**12}, None, {"tokens": 7}):
        admin.apply(annotating("dear", budget=budget))
    for name, value in FIXED.items():
        others = {"formSchema": None} if name == "formSchemaRef" else {}
        with pytest.raises(KubectlError, match=rf"spec\.aiBatch\.{name} is immutable"):
            admin.apply(annotating("dear", budget={"tokens": 8}, **{name: value}, **others))
    with pytest.raises(KubectlError, match=r"budget\.tokens.* should be greater than or equal to 1"):
        admin.apply(annotating("dear", budget={"tokens": 0}))


def test_what_of_an_ai_batch_was_said_cannot_be_taken_back(admin: Kubectl) -> None:
    optional = {name: FIXED[name] for name in ("prompt", "examples", "cache")}
    admin.apply(annotating("said", **optional))
    for name in optional:
        with pytest.raises(KubectlError, match=rf"spec\.aiBatch\.{name} is immutable"):
            admin.apply(annotating("said", **optional | {name: None}))


def test_a_second_apply_of_the_same_manifest_changes_nothing(admin: Kubectl) -> None:
    admin.apply(noop("same", inline(2)))
    assert "unchanged" in admin.apply(noop("same", inline(2)))


def test_objects_can_be_selected_by_type_owner_and_phase(admin: Kubectl) -> None:
    admin.apply(noop("selected", inline(1), owner="alice"), noop("of-another", inline(1), owner="bob"))
    set_status(admin, "of-another", {"phase": "Failed"})
    set_status(admin, "selected", {"phase": "Failed"})
    names = admin(
        "get", "bj", "-o", "name", "--field-selector", "spec.type=custom,spec.owner=alice,status.phase=Failed"
    )
    assert names.split() == ["batchjob.batchjob.dev/selected"]


def test_the_columns_fit_a_terminal_of_80_characters(admin: Kubectl) -> None:
    name = "a-name-of-18-chars"
    admin.apply(ai_batch(name, inline(1)))
    set_status(
        admin, name, {"phase": "Finalizing", "progress": "3708/3708", "counts": {"failed": 17}, "duration": "12m30s"}
    )
    header, row = admin("get", "batchjobs", name).splitlines()
    assert header.split() == ["NAME", "TYPE", "PHASE", "PROGRESS", "FAILED", "DURATION", "AGE"]
    assert row.split()[:6] == [name, "ai-batch", "Finalizing", "3708/3708", "17", "12m30s"]
    assert len(row) <= 80


def test_wide_output_shows_whose_it_is_and_why(admin: Kubectl) -> None:
    admin.apply(noop("wide", inline(1), owner="alice"))
    moment = "2026-11-24T12:00:00Z"
    conditions = [
        {"type": "Queued", "status": "False", "reason": "Accepted", "message": "", "lastTransitionTime": moment},
        {"type": "Failed", "status": "True", "reason": "Cancelled", "message": "", "lastTransitionTime": moment},
    ]
    set_status(admin, "wide", {"percent": "40%", "rate": "41.2/s", "conditions": conditions})
    header, row = admin("get", "batchjob", "wide", "-o", "wide").splitlines()
    assert header.split()[-5:] == ["OWNER", "PERCENT", "RATE", "ETA", "REASON"]
    assert row.split()[-4:] == ["alice", "40%", "41.2/s", "Cancelled"]


def test_kubectl_explains_every_field(admin: Kubectl) -> None:
    published = json.loads(admin("get", "--raw", OPENAPI))
    schema = published["components"]["schemas"]["dev.batchjob.v1alpha1.BatchJob"]
    own = {part: schema["properties"][part] for part in ("spec", "status")}
    silent = [path for part, node in own.items() for path, field in fields(part, node) if not field.get("description")]
    assert silent == []
    assert "maxLosses" in admin("explain", "batchjob.spec", "--recursive")


def fields(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every named field below a schema node, with its path."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields(f"{path}.{name}", child.get("items", child))


def set_status(admin: Kubectl, name: str, status: dict[str, Any]) -> None:
    admin(
        "patch",
        "batchjob",
        name,
        "--subresource=status",
        "--type=merge",
        f"--patch={yaml.safe_dump({'status': status})}",
    )
