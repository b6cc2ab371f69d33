"""The metadata of a manifest, as `batchjob lint` and `batchjob run` hold it to Kubernetes' rules without a cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import V1ManagedFieldsEntry, V1ObjectMeta, V1OwnerReference

from batchjob.api.base import API_VERSION
from batchjob.errors import ConfigurationError
from batchjob.local.manifest import read_manifest
from batchjob.local.metadata import metadata_schema
from batchjob.local.rules import faults
from tests.support.manifests import inline, noop

KINDS = ("BatchJob", "BatchQueue", "BatchSchedule")
SPECS: dict[str, dict[str, Any]] = {
    "BatchJob": noop("x", inline(1))["spec"],
    "BatchQueue": {},
    "BatchSchedule": {"schedules": ["0 9 * * *"], "jobTemplate": {"spec": noop("x", inline(1))["spec"]}},
}
WORD = (
    "write at most 63 letters a to z and A to Z, digits, -, _ and ., the first and the last of them a letter or a digit"
)
KEY = f"{WORD}; before it there may be a domain in lower case and a slash, as in example.com/team"

ANNOTATIONS = "metadata.annotations: they have"
LABEL = "write at most 63 lower case letters a to z, digits and hyphens, the first and the last of them no hyphen"


def described(kind: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": "fine", **metadata},
        "spec": SPECS[kind],
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("labels", {"a b": "x"}, f"metadata.labels: 'a b' is no key of a label: {KEY}"),
        ("labels", {"": "x"}, f"metadata.labels: '' is no key of a label: {KEY}"),
        ("labels", {"a/b/c": "x"}, f"metadata.labels: 'a/b/c' is no key of a label: {KEY}"),
        ("labels", {"/a": "x"}, f"metadata.labels: '/a' is no key of a label: {KEY}"),
        ("labels", {"Example.com/a": "x"}, f"metadata.labels: 'Example.com/a' is no key of a label: {KEY}"),
        ("labels", {"a..b/c": "x"}, f"metadata.labels: 'a..b/c' is no key of a label: {KEY}"),
        ("labels", {"a" * 64: "x"}, f"metadata.labels: {'a' * 64!r:.60} is no key of a label: {KEY}"),
        ("labels", {f"{'a' * 254}/b": "x"}, f"metadata.labels: {'a' * 64!r:.60} is no key of a label: {KEY}"),
        (
            "labels",
            {"a": "x y"},
            f"metadata.labels.a: 'x y' is no value of a label: {WORD}; an annotation takes any text",
        ),
        ("labels", {"a": "é"}, f"metadata.labels.a: 'é' is no value of a label: {WORD}; an annotation takes any text"),
        (
            "labels",
            {"a": "x\n"},
            f"metadata.labels.a: 'x\\n' is no value of a label: {WORD}; an annotation takes any text",
        ),
        (
            "labels",
            {"a": "b" * 64},
            f"metadata.labels.a: {'b' * 64!r:.60} is no value of a label: {WORD}; an annotation takes any text",
        ),
        ("labels", {"a": 5}, "metadata.labels.a: should be a valid string: put it in quotes (it is 5)"),
        ("annotations", {"!": "x"}, f"metadata.annotations: '!' is no key of an annotation: {KEY}"),
        ("annotations", {"a": 5}, "metadata.annotations.a: should be a valid string: put it in quotes (it is 5)"),
        (
            "annotations",
            {"a": "x" * 262_144},
            f"{ANNOTATIONS} 262145 bytes, and may have 262144: shorten them, or put them into a ConfigMap",
        ),
        ("finalizers", ["a/b", "a b"], f"metadata.finalizers[1]: 'a b' is no name of a finalizer: {KEY}"),
        ("labls", {}, "metadata.labls: there is no such field; did you mean labels?"),
        ("Labels", {}, "metadata.Labels: there is no such field; did you mean labels?"),
        (
            "ownerReferences",
            [{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u", "kin": 1}],
            "metadata.ownerReferences[0].kin: there is no such field; did you mean kind?",
        ),
        (
            "ownerReferences",
            [{"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}],
            "metadata.ownerReferences[0].uid: field required",
        ),
    ],
)
def test_metadata_that_no_cluster_would_take_are_named_and_told_once(
    kind: str, field: str, value: Any, sentence: str
) -> None:
    assert faults(described(kind, **{field: value}), kind) == [sentence]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"app.kubernetes.io/name": "x", "A_b.c-d": "", "a" * 63: "b" * 63, f"{'a' * 253}/b": "x", 7: "1"}},
        {"annotations": {"Example.COM/a": "é, and any other text\n"}},
        {"annotations": {"a": "x" * 262_143}},
        {"finalizers": ["orphan", "example.com/tidy"]},
        {"labels": None, "annotations": None, "finalizers": None, "ownerReferences": None},
    ],
)
def test_metadata_that_a_cluster_takes_are_taken(kind: str, metadata: dict[str, Any]) -> None:
    assert faults(described(kind, **metadata), kind) == []


@pytest.mark.parametrize("kind", ["BatchJob", "BatchSchedule"])
@pytest.mark.parametrize("namespace", ["a.b", "A", "-a", "a-", "a b", "a" * 64])
def test_a_namespace_that_none_can_have_is_refused(kind: str, namespace: str) -> None:
    [sentence] = faults(described(kind, namespace=namespace), kind)
    assert sentence == f"metadata.namespace: {namespace!r:.60} is no name of a namespace: {LABEL}"
    assert faults(described(kind, namespace="a" * 63), kind) == []


def test_a_namespace_on_a_batchqueue_is_no_fault_as_the_api_server_drops_it() -> None:
    assert faults(described("BatchQueue", namespace="team"), "BatchQueue") == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.b-c", None),
        ("a..b", "metadata.name: 'a..b' is no name: lower case letters a to z, digits and hyphens"),
        ("a.-b", "metadata.name: 'a.-b' is no name: lower case letters a to z, digits and hyphens"),
        ("a" * 254, "metadata.name: it has 254 characters: choose one of at most 253"),
    ],
)
def test_a_name_with_dots_has_something_between_them_and_an_end(name: str, sentence: str | None) -> None:
    found = faults(described("BatchQueue", name=name), "BatchQueue")
    assert found[0].startswith(sentence) if sentence else found == []


def test_the_fields_of_metadata_are_those_of_kubernetes() -> None:
    fields = metadata_schema()["properties"]
    assert fields.keys() == set(V1ObjectMeta.attribute_map.values())
    for field, entry in (("ownerReferences", V1OwnerReference), ("managedFields", V1ManagedFieldsEntry)):
        assert fields[field]["items"]["properties"].keys() == set(entry.attribute_map.values())


def test_an_object_that_was_read_from_a_cluster_has_no_fault() -> None:
    made = {
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 0,
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "generation": 1,
        "managedFields": [
            {
                "apiVersion": API_VERSION,
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {}},
                "manager": "kubectl",
                "operation": "Update",
                "subresource": "status",
                "time": "2026-01-01T00:00:00Z",
            }
        ],
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "blockOwnerDeletion": True,
                "controller": True,
                "kind": "BatchSchedule",
                "name": "s",
                "uid": "u",
            }
        ],
        "resourceVersion": "7",
        "uid": "u",
    }
    assert [faults(described(kind, **made), kind) for kind in KINDS] == [[], [], []]


def test_a_run_says_of_metadata_what_lint_says(tmp_path: Path) -> None:
    wrong = described("BatchJob", labels={"a b": "x y"}, annotations={"!": "x"}, finalizers=["a b"], foo=1)
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(wrong))
    with pytest.raises(ConfigurationError) as error:
        read_manifest([path])
    said = faults(wrong, "BatchJob")
    assert len(said) == 5
    assert str(error.value).split("\n  ")[1:] == said
