"""The reference page of a resource, written from its CustomResourceDefinition: one table row a field."""

from collections.abc import Iterator
from typing import Any, Final

# Told on a page of its own: not told again.
_ELSEWHERE: Final = {"spec.jobTemplate.spec": " Its fields and rules: [BatchJob](batchjob.md)."}
_HEADER: Final = "| field | type | default | bounds | |\n|---|---|---|---|---|\n"
_BOUNDS: Final = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "minLength": "≥ {} characters",
    "maxLength": "≤ {} characters",
    "minItems": "≥ {} items",
    "maxItems": "≤ {} items",
    "maxProperties": "≤ {} keys",
}


def reference(crd: dict[str, Any]) -> str:
    """The page in Markdown: fields of spec and status, and the rules over several fields."""
    version = crd["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    kind = crd["spec"]["names"]["kind"]
    page = [
        "<!-- Generated from operator/batchjob/api by `make generate`. Change the models, not this file. -->\n",
        f"# {kind} ({crd['spec']['group']}/{version['name']})\n\n{root['description']}\n",
    ]
    page += [f"## {part}\n\n{_HEADER}{''.join(_rows(part, root['properties'][part]))}" for part in ("spec", "status")]
    rules = dict.fromkeys(f"- {rule['message'].rstrip('.')}.\n" for rule in _rules("", root))
    page.append(f"## Rules\n\nThe API server refuses what breaks one of these:\n\n{''.join(rules)}")
    return "\n".join(page)


def _rows(path: str, node: dict[str, Any]) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        field = f"{path}.{name}"
        required = " **Required.**" if name in node.get("required", []) else ""
        default = f"`{_literal(child['default'])}`" if "default" in child else ""
        text = child["description"].replace("|", "\\|") + required + _ELSEWHERE.get(field, "")
        yield f"| `{field}` | {_type(child)} | {default} | {_bounds(child)} | {text} |\n"
        if field in _ELSEWHERE:
            continue
        yield from _rows(f"{field}[]" if "items" in child else field, child.get("items", child))


def _type(node: dict[str, Any]) -> str:
    if "x-kubernetes-int-or-string" in node:
        return "string or integer"
    if "items" in node:
        return f"list of {_type(node['items'])}"
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    if "enum" in node:
        return " \\| ".join(node["enum"])
    return str(node["type"])


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(node: dict[str, Any]) -> str:
    return ", ".join(text.format(node[key]) for key, text in _BOUNDS.items() if key in node)


def _rules(path: str, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if path in _ELSEWHERE:
        return
    yield from node.get("x-kubernetes-validations", [])
    for name, child in node.get("properties", {}).items():
        yield from _rules(f"{path}.{name}".removeprefix("."), child)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _rules(f"{path}[]", node[key])
