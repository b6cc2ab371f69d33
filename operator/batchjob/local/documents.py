"""YAML as Kubernetes reads it: documents of a manifest."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from batchjob.api.v1alpha1 import KIND
from batchjob.errors import ConfigurationError


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a date and a time are texts, and a key stands once."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A map as it was written, before `<<` adds to it."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys: dict[str, yaml.ScalarNode] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (first := keys.setdefault(key.value, key)) is not key:
                line = first.start_mark.line + 1
                said = f"the key {key.value!r} is there twice (first in line {line}): remove one"
                raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
        return node


# 12:30 is a text, and no number to the base of 60.
_NUMBERS: Final = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z"),
    "tag:yaml.org,2002:float": re.compile(
        r"(?=[^.eE]*[.eE])[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z"
        r"|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
    ),
}
_TEXTS: Final = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers if tag not in _TEXTS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(text: str, path: Path) -> Iterator[dict[str, Any]]:
    """The documents of a text; ConfigurationError names the file and the line."""
    try:
        found = list(yaml.load_all(text, _Loader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        context = f" ({error.context})" if error.context else ""
        raise ConfigurationError(f"{path} is not YAML: line {line}: {error.problem}{context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 0b and nothing after it
        raise ConfigurationError(f"{path} is not YAML: {error}") from None
    for document in found:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ConfigurationError(f"{path} is no manifest: a document is a map, such as kind: {KIND}")
        yield document
