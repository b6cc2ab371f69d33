"""The models as a CustomResourceDefinition: `python -m batchjob.api.crd` writes it, `--check` compares it.

With it go the pages of the reference, of the resources and of metrics, and the chart's dashboard.

pydantic describes a model as JSON Schema with `$ref`, `title` and `anyOf: [..., null]`; the API server wants a
structural schema: one tree, one type at each node. This page turns the first into the second and adds what only the
API server knows (columns, selectable fields, short names). Defaults are kept in the spec, where the API server fills
them in, and dropped from the status, which holds what the operator wrote and nothing else; until it has, `UNSEEN`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from batchjob.api.base import GROUP, VALIDATIONS, VERSION
from batchjob.api.kinds import BATCH_JOB, KINDS, Kind
from batchjob.api.reading import UNSEEN
from batchjob.api.reference import reference
from batchjob.api.schedule import TEMPLATE
from batchjob.metrics.dashboard import build_dashboard
from batchjob.metrics.page import build_page

Schema = dict[str, Any]

NOTICE: Final = "# Generated from operator/batchjob/api by `make generate`. Change the models, not this file.\n"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"

# `propertyNames` has no structural form: the keys of a map are bounded by their number alone.
_NOT_STRUCTURAL: Final = frozenset({"title", "$ref", "anyOf", "propertyNames"})

_AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Age."}


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """The structural schema of a model; without `defaults`, no node has a default."""
    schema = model.model_json_schema(by_alias=True)
    return _node(schema, schema.get("$defs", {}), defaults=defaults)


def _node(raw: Schema, definitions: dict[str, Schema], *, defaults: bool) -> Schema:
    merged = _merge(raw, definitions)
    node = {key: value for key, value in merged.items() if key not in _NOT_STRUCTURAL and key != "$defs"}
    if not defaults or node.get("default") is None:
        node.pop("default", None)
    if "properties" in node:
        node["properties"] = {
            name: _node(child, definitions, defaults=defaults) for name, child in node["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node[key] = _node(node[key], definitions, defaults=defaults)
    is_template = node.pop(TEMPLATE, False)
    return _without_transitions(node) if is_template else node


def _without_transitions(node: Schema) -> Schema:
    """A template's schema: no rule compares with what was there before."""
    bare: Schema = {
        key: _without_transitions(value) if isinstance(value, dict) else value for key, value in node.items()
    }
    rules = [rule for rule in bare.pop(VALIDATIONS, []) if "oldSelf" not in rule["rule"]]
    return bare | ({VALIDATIONS: rules} if rules else {})


def _merge(raw: Schema, definitions: dict[str, Schema]) -> Schema:
    """Lay a node over what it refers to: its own words win, and the rules of both hold."""
    if "$ref" in raw:
        base = _merge(definitions[raw["$ref"].removeprefix("#/$defs/")], definitions)
    elif "anyOf" in raw and INT_OR_STRING not in raw:
        (choice,) = (option for option in raw["anyOf"] if option.get("type") != "null")
        base = _merge(choice, definitions)
    else:
        return raw
    rules = [*base.get(VALIDATIONS, []), *raw.get(VALIDATIONS, [])]
    return base | raw | ({VALIDATIONS: rules} if rules else {})


def crd(kind: Kind = BATCH_JOB) -> Schema:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                # No category `batchjob`: kubectl would take that word for all kinds in it and not for the one.
                **({"categories": ["all"]} if kind.scope == "Namespaced" else {}),
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> Schema:
    scale = {"scale": kind.scale} if kind.scale else {}
    selectable = {"selectableFields": [{"jsonPath": path} for path in kind.selectable]} if kind.selectable else {}
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}, **scale},
        **selectable,
        "additionalPrinterColumns": [*_columns(kind, 0), _AGE, *_columns(kind, 1)],
        "schema": {"openAPIV3Schema": _root(kind)},
    }


def _columns(kind: Kind, priority: int) -> Iterator[Schema]:
    for column in kind.columns:
        if column.priority == priority:
            shown = {"name": column.header, "type": column.type, "jsonPath": column.path}
            yield shown | {"description": column.description} | ({"priority": priority} if priority else {})


def _root(kind: Kind) -> Schema:
    spec = structural(kind.model)["properties"]["spec"]
    status = structural(kind.model, defaults=False)["properties"]["status"]
    rules = kind.model.model_json_schema().get(VALIDATIONS)
    return {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status | {"default": UNSEEN},
        },
        **({VALIDATIONS: rules} if rules else {}),
    }


def files(repository: Path) -> dict[Path, str]:
    """Every generated file of the repository and its text."""
    chart = repository / "charts" / "batchjob-operator" / "files"
    found = {
        repository / "docs" / "reference" / "metrics.md": build_page(),
        chart / "dashboard.json": build_dashboard(),
    }
    for kind in KINDS:
        resource = crd(kind)
        text = NOTICE + yaml.safe_dump(resource, sort_keys=False, width=120, allow_unicode=True)
        found |= {
            repository / "crds" / f"{kind.name}.yaml": text,
            chart / "crds" / f"{kind.name}.yaml": text,
            repository / "docs" / "reference" / f"{kind.kind.lower()}.md": reference(resource),
        }
    return found


def main(arguments: list[str], repository: Path) -> int:
    """Write the generated files; with `--check`, write nothing and return 1 if one of them is out of date."""
    generated = files(repository)
    stale = [path for path, text in generated.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" not in arguments:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated[path], "utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"{path.relative_to(repository)} is not what the code says: run `make generate`.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[3]))
