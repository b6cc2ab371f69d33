"""Manifests of `batchjob run` as YAML: what Kubernetes reads, and what no API server is there to refuse."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from batchjob.errors import ConfigurationError
from batchjob.local.command import check
from batchjob.local.manifest import SHOWN, read_manifest
from tests.support.manifests import inline, noop


def read(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "job.yaml"
    path.write_text(text)
    return read_manifest([path]).job.to_json()


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        read(folder, text)
    return str(error.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Upper", "metadata.name: 'Upper' is no name: lower case letters a to z, digits and hyphens"),
        ("under_score", "metadata.name: 'under_score' is no name"),
        ("-first", "metadata.name: '-first' is no name"),
        ("last-", "metadata.name: 'last-' is no name"),
        ("é", "metadata.name: 'é' is no name"),
        ("two\nlines", "metadata.name: 'two\\nlines' is no name"),
        ("", "metadata.name: '' is no name"),
        ("a.b", "metadata.name must not contain a dot"),
        ("a" * 53, "metadata.name must be at most 52 characters"),
        (5, "metadata.name: should be a valid string: put it in quotes (it is 5)"),
        (None, "metadata.name: should be a valid string (it is None)"),
    ],
)
def test_a_name_that_no_cluster_would_take_is_refused(tmp_path: Path, name: Any, words: str) -> None:
    job = noop("fine", inline(1))
    job["metadata"]["name"] = name
    assert words in refused(tmp_path, yaml.safe_dump(job))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"startAfter": "soon"}, "spec.startAfter: must be a time with its zone, such as 2026-01-31T09:00:00Z"),
        ({"custom": {"processor": "Mine"}}, "spec.custom.processor: should match pattern"),
        (
            {"custom": {"processor": "noop", "params": {"seconds": 1}}},
            "spec.custom.params.seconds: should be a valid string: put",
        ),
    ],
)
def test_a_mistake_is_told_in_our_words(tmp_path: Path, spec: dict[str, Any], line: str) -> None:
    assert f"\n  {line}" in refused(tmp_path, yaml.safe_dump(noop("wrong", inline(1), **spec)))


def test_a_namespace_is_a_name_too(tmp_path: Path) -> None:
    job = noop("fine", inline(1))
    job["metadata"]["namespace"] = "My Team"
    assert "metadata.namespace: 'My Team' is no name" in refused(tmp_path, yaml.safe_dump(job))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("kind: BatchJob\n", "is not YAML: line {last}: the key 'kind' is there twice (first in line 2): remove one"),
        (
            "x: {a: 1, a: 2}\n",
            "is not YAML: line {last}: the key 'a' is there twice (first in line {last}): remove one",
        ),
        ('"kind": Other\n', "the key 'kind' is there twice"),
    ],
)
def test_a_key_that_is_there_twice_is_named_with_both_lines(tmp_path: Path, more: str, words: str) -> None:
    text = yaml.safe_dump(noop("twice", {"items": [{"id": "a", "data": {"n": 1}}]}), sort_keys=False)
    last = len(text.splitlines()) + 1
    assert words.format(last=last) in refused(tmp_path, text + more)


def test_a_key_that_overrides_a_merged_one_is_not_there_twice(tmp_path: Path) -> None:
    text = yaml.safe_dump(noop("merged", {"items": []}), sort_keys=False)
    items = "[{id: a, data: &first {n: 1, m: 1}}, {id: b, data: {<<: *first, n: 2}}]"
    found = read(tmp_path, text.replace("[]", items))
    assert [item["data"] for item in found["spec"]["source"]["items"]] == [{"n": 1, "m": 1}, {"n": 2, "m": 1}]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12:30", "12:30"),
        ("1:2.5", "1:2.5"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("010", 8),
        ("1_000", 1000),
    ],
)
def test_a_scalar_is_what_kubernetes_takes_it_for(tmp_path: Path, written: str, value: Any) -> None:
    text = yaml.safe_dump(noop("scalar", {"items": [{"id": "a", "data": {"x": "SCALAR"}}]}))
    found = read(tmp_path, text.replace("SCALAR", written))["spec"]["source"]["items"][0]["data"]["x"]
    assert (found, type(found)) == (value, type(value))


def test_a_number_with_an_exponent_is_no_text(tmp_path: Path) -> None:
    text = yaml.safe_dump(noop("scalar", {"items": [{"id": "a", "data": {"x": "SCALAR"}}]}))
    assert "should be a text or an integer" in refused(tmp_path, text.replace("SCALAR", "1e3"))


@pytest.mark.parametrize(("written", "said"), [(".nan", "nan"), ("-.inf", "-inf"), ("1e400", "inf")])
def test_a_number_that_json_has_not_is_named(tmp_path: Path, written: str, said: str) -> None:
    text = yaml.safe_dump(noop("scalar", {"items": [{"id": "a", "data": {"x": "SCALAR"}}]}))
    words = f"spec.source.items[0].data.x is {said}, and JSON has no such number"
    assert words in refused(tmp_path, text.replace("SCALAR", written))


@pytest.mark.parametrize("text", ["kind: &a [*a]", "[" * 5000, "a: 0b_", "a: \x01", "kind: !mine x"])
def test_yaml_that_nothing_can_be_made_of_is_no_traceback(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("job.yaml")


def test_of_very_many_mistakes_the_first_are_told(tmp_path: Path) -> None:
    items = [{"id": f"i{n}", "dat": {}} for n in range(100)]  # each lacks data too
    said = refused(tmp_path, yaml.safe_dump(noop("many", {"items": items}))).splitlines()
    assert said[1].startswith("  spec.source.items[0]")
    assert (len(said), said[-1]) == (SHOWN + 2, "  and 180 more")


@pytest.mark.parametrize(
    "more",
    [
        {"kind": {}},
        {"kind": "Secret", "data": [1]},
        {"kind": "ConfigMap", "metadata": "x", "data": {"k": 1}},
        {"kind": 1},
    ],
)
def test_a_document_beside_the_batchjob_may_be_anything(tmp_path: Path, more: dict[str, Any]) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump_all([noop("fine", inline(1)), more]))
    if more.get("data"):
        assert "job.yaml: " in refused(tmp_path, path.read_text())
    else:
        assert read(tmp_path, path.read_text())["metadata"]["name"] == "fine"


@pytest.mark.parametrize("url", ["file://[", "file:x", "file://x/y", "\0"])
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.source\.uri\.url: "):
        check(read_manifest([written(tmp_path, noop("odd", {"uri": {"url": url}}))]).job)


def test_a_field_whose_name_is_a_number_is_named(tmp_path: Path) -> None:
    assert "spec.7: there is no such field" in refused(
        tmp_path, yaml.safe_dump(noop("odd", inline(1), x=1)).replace("  x:", "  7:")
    )


def written(folder: Path, job: dict[str, Any]) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


@pytest.mark.parametrize("key", ["../../evil", "/etc/evil", "..", "a/b", "a b", ""])
def test_a_key_that_is_no_name_of_a_file_is_refused_as_by_the_api_server(tmp_path: Path, key: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {key: "x"}}
    said = refused(tmp_path, yaml.safe_dump_all([noop("fine", inline(1)), secret]))
    assert f"job.yaml: Secret s: stringData.{key}: is no key: letters, digits, -, _ and . alone" in said
