"""The generated CRD: current, structural, bounded, explained, and in agreement with the models it comes from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, cel, immutable
from batchjob.api.crd import INT_OR_STRING, crd, files, main, structural
from batchjob.api.kinds import BATCH_JOB, KINDS, Kind
from batchjob.api.v1alpha1 import BatchJobSpec

REPOSITORY = Path(__file__).parents[2]
BREAKS_CLIENT_SIDE_APPLY_BYTES = 100_000  # its annotation may hold 256 KiB; we stay far below
MINIMAL = {
    "type": "email",
    "source": {"items": [{"id": "a", "data": {"email": "a@example.com"}}]},
    "email": {"smtp": {"host": "mail"}, "from": "a@example.com", "subject": "s", "text": "t"},
}

Node = dict[str, Any]


def root(kind: Kind = BATCH_JOB) -> Node:
    schema: Node = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    """Every schema node below and including this one, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(f"{path}.{name}", child)
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(f"{path}[]", node[key])


OURS = [pair for kind in KINDS for part in ("spec", "status") for pair in nodes(part, root(kind)["properties"][part])]


@pytest.mark.parametrize("path", files(REPOSITORY), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_a_generated_file_is_what_the_models_say(path: Path) -> None:
    assert path.read_text("utf-8") == files(REPOSITORY)[path]


def test_check_names_what_is_out_of_date_and_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    stale = tmp_path / "crds" / "batchjobs.batchjob.dev.yaml"
    stale.write_text("# edited by hand\n")
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == (
        "crds/batchjobs.batchjob.dev.yaml is not what the code says: run `make generate`.\n"
    )
    assert stale.read_text() == "# edited by hand\n"


def test_every_field_has_a_description() -> None:
    assert [path for path, node in OURS if not path.endswith("[]") and not node.get("description")] == []


def test_every_string_list_and_map_has_a_bound() -> None:
    bounds = {"string": {"maxLength", "enum"}, "array": {"maxItems"}, "object": {"maxProperties", "properties"}}
    unbounded = [path for path, node in OURS if not bounds.get(node.get("type", "string"), {"type"}) & node.keys()]
    assert unbounded == []


def test_the_schema_is_structural() -> None:
    foreign = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "const", "x-kubernetes-preserve-unknown-fields"}
    for path, node in OURS:
        assert not foreign & node.keys(), path
        assert ("type" in node) != (INT_OR_STRING in node), path
        assert node.get("default", "") is not None, path


def test_the_status_has_no_defaults_but_that_nobody_has_looked_yet() -> None:
    """Without it, kstatus takes what has no status for current."""
    defaults = [(path, node["default"]) for path, node in OURS if path.startswith("status") and "default" in node]
    assert defaults == [("status", {"observedGeneration": -1})] * len(KINDS)


def test_every_rule_has_a_message_that_names_a_field() -> None:
    names = {path.rpartition(".")[2].removesuffix("[]") for path, _ in OURS} | {"name", "metadata"}
    rules = [rule for _, node in [*(("", root(kind)) for kind in KINDS), *OURS] for rule in node.get(VALIDATIONS, [])]
    assert len(rules) > 20
    for rule in rules:
        words = rule["message"].replace(".", " ").replace("[]", " ").replace(",", " ").replace(":", " ").split()
        assert names & set(words), rule["message"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_crd_is_small_enough_for_every_client(kind: Kind) -> None:
    as_annotated = json.dumps(crd(kind), separators=(",", ":"))  # by kubectl apply, whatever the file looks like
    assert len(as_annotated) < BREAKS_CLIENT_SIDE_APPLY_BYTES


def test_the_defaults_of_the_api_server_are_those_of_the_models() -> None:
    filled = with_defaults(MINIMAL, root()["properties"]["spec"])
    assert filled != MINIMAL
    assert BatchJobSpec.model_validate(filled) == BatchJobSpec.model_validate(MINIMAL)


def with_defaults(value: Any, node: Node) -> Any:
    """The value as the API server stores it."""
    if isinstance(value, list):
        return [with_defaults(entry, node["items"]) for entry in value]
    if not isinstance(value, dict) or "properties" not in node:
        return value
    known = {name: child["default"] for name, child in node["properties"].items() if "default" in child}
    return {name: with_defaults(entry, node["properties"][name]) for name, entry in {**known, **value}.items()}


def test_selectable_fields_and_columns_are_the_agreed_ones() -> None:
    version = crd()["spec"]["versions"][0]
    selectable = [field["jsonPath"] for field in version["selectableFields"]]
    assert selectable == [".spec.type", ".spec.queueName", ".spec.owner", ".status.phase"]
    columns = [(column["name"], column.get("priority", 0)) for column in version["additionalPrinterColumns"]]
    assert [name for name, priority in columns if priority == 0] == [
        *("Type", "Phase", "Progress", "Failed", "Duration", "Age")
    ]
    names = [name for name, priority in columns if priority == 1]
    assert names == ["Queue", "Owner", "Percent", "Rate", "ETA", "Reason"]


class Inner(Model):
    """What the inner is."""

    model_config = ConfigDict(json_schema_extra={VALIDATIONS: [cel("has(self.x)", "x is needed")]})

    x: Annotated[str, Field(max_length=3)] | None = Field(None, description="An x.")


class Outer(Model):
    """What the outer is."""

    inner: Inner | None = Field(None, description="An inner.", json_schema_extra=immutable("inner"))
    rows: Annotated[list[Inner], Field(max_length=2)] = Field(default_factory=list, description="Rows.")


def test_the_rules_of_a_field_and_of_its_type_both_hold() -> None:
    rules = structural(Outer)["properties"]["inner"][VALIDATIONS]
    assert [rule["rule"] for rule in rules] == ["has(self.x)", "self == oldSelf"]


def test_an_optional_field_is_a_plain_field_that_is_not_required() -> None:
    schema = structural(Outer)
    assert "required" not in schema
    assert schema["properties"]["inner"]["properties"]["x"] == {
        "type": "string",
        "maxLength": 3,
        "description": "An x.",
    }


def test_the_words_of_a_field_win_over_those_of_its_type() -> None:
    schema = structural(Outer)
    assert schema["properties"]["inner"]["description"] == "An inner."
    assert schema["properties"]["rows"]["items"]["description"] == "What the inner is."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_crd_has_every_field_of_the_spec(kind: Kind) -> None:
    assert set(root(kind)["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}
    spec = kind.model.model_json_schema()["$defs"][f"{kind.kind}Spec"]
    assert set(root(kind)["properties"]["spec"]["properties"]) == set(spec["properties"])
