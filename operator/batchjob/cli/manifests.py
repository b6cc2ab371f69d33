"""`batchjob lint` and `batchjob explain`: what the CRDs say, without a cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from batchjob.cli.exits import ERROR, OK, Refused
from batchjob.cli.options import output

_WIDTH: Final = 100


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@output("table", "json", "jsonl")
def lint(files: tuple[Path, ...], *, form: str) -> int:
    """Check manifests without a cluster: fields, types, bounds, and the rules that the API server holds them to.

    It says what the API server would say, and 1 is the exit code where there is anything. Documents of other API
    groups are left alone. - is standard input.
    """
    from batchjob.cli.files import read
    from batchjob.cli.output import clean, note, say, show_json, show_lines
    from batchjob.local.rules import faults

    documents = [one for one in read(files) if one.is_ours or one.wrong_kind]
    if not documents:
        raise Refused(f"{', '.join(map(str, files))}: there is no document of batchjob.dev/v1alpha1")
    wrong = [
        {"file": str(one.file), "kind": one.kind, "name": one.name, "fault": fault}
        for one in documents
        for fault in ([one.wrong_kind] if one.wrong_kind else faults(_with_name(one.body), one.kind))
    ]
    if form == "json":
        show_json(wrong)
    elif form == "jsonl":
        show_lines(wrong)
    else:
        for one in wrong:
            say(clean("{file}: {kind} {name}: {fault}".format_map(one)))
        note(
            f"{len(documents)} checked, {len(wrong)} wrong" if wrong else f"{len(documents)} checked, nothing is wrong"
        )
    return ERROR if wrong else OK


def _with_name(body: dict[str, Any]) -> dict[str, Any]:
    """As the API server sees it: with metadata.generateName it makes up the rest of the name, five characters."""
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") or not isinstance(metadata.get("generateName"), str):
        return body
    return {**body, "metadata": {**metadata, "name": f"{metadata['generateName']}xxxxx"}}


@click.command()
@click.argument("field", default="batchjob")
@click.option("-r", "--recursive", is_flag=True, help="All fields below it, by name.")
def explain(field: str, *, recursive: bool) -> None:
    """What a FIELD means, such as batchjob.spec.retry.maxAttempts, spec.source or batchqueue.spec.

    It begins with batchjob, batchqueue or batchschedule; without one it is a BatchJob's.
    """
    from batchjob.api.crd import crd
    from batchjob.api.kinds import BATCH_JOB, KINDS
    from batchjob.cli.output import say

    first, *steps = field.strip(".").split(".")
    words = {word: kind for kind in KINDS for word in (kind.kind.lower(), kind.plural, kind.short_name)}
    kind = words.get(first.lower())
    if kind is None:
        kind, steps = BATCH_JOB, [first, *steps]
    node: dict[str, Any] = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    path = kind.kind.lower()
    is_required = False
    for step in steps:
        fields = _fields_of(node)
        if step not in fields:
            near = _near(step, fields)
            raise Refused(f"{path} has no field {step}{near}")
        is_required = step in _below(node).get("required", ())
        node, path = fields[step], f"{path}.{step}"
    for line in build_explanation(path, node, is_required=is_required, recursive=recursive):
        say(line)


def _below(node: dict[str, Any]) -> dict[str, Any]:
    """What holds the fields: a list's are those of its entries."""
    while node.get("type") == "array":
        node = node["items"]
    return node


def _fields_of(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = _below(node).get("properties") or {}
    return found


def _near(step: str, fields: dict[str, Any]) -> str:
    from difflib import get_close_matches

    if not fields:
        return ", and none at all"
    near = get_close_matches(step, fields, n=1)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(fields)}"


def build_explanation(path: str, node: dict[str, Any], *, is_required: bool, recursive: bool) -> Iterator[str]:
    """The lines about a field. Pure."""
    from textwrap import fill

    yield f"{path} <{_type(node)}>" + (", required" if is_required else "")
    if said := node.get("description"):
        yield fill(said, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    if facts := "; ".join(_bounds(node)):
        yield fill(facts, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    fields = _fields_of(node)
    if fields:
        yield ""
        yield "Fields:"
        required = _below(node).get("required", ())
        for name, child in fields.items():
            yield f"  {name} <{_type(child)}>" + (", required" if name in required else "")
            if recursive:
                yield from _tree(child, "    ")
            elif said := child.get("description"):
                yield fill(said, _WIDTH, initial_indent="    ", subsequent_indent="    ")


def _tree(node: dict[str, Any], indent: str) -> Iterator[str]:
    for name, child in _fields_of(node).items():
        yield f"{indent}{name} <{_type(child)}>"
        yield from _tree(child, indent + "  ")


def _type(node: dict[str, Any]) -> str:
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    if isinstance(others := node.get("additionalProperties"), dict):
        return f"map of {_type(others)}"
    return "text or integer" if node.get("x-kubernetes-int-or-string") else str(node.get("type", "any JSON"))


def _bounds(node: dict[str, Any]) -> Iterator[str]:
    if "enum" in node:
        yield f"one of {', '.join(map(str, node['enum']))}"
    if "default" in node and node["default"] not in ([], {}):
        yield f"default {node['default']}"
    for low, high, what in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if low in node or high in node:
            yield f"from {node.get(low, 0)} to {node[high]}{what}" if high in node else f"at least {node[low]}{what}"
    if "maxItems" in node:
        yield f"at most {node['maxItems']} entries"
    if "pattern" in node:
        yield f"matches {node['pattern']}"
