"""The README of the chart: how to install it, and each of its values with what values.yaml says of it."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from tests.chart.rendering import CHART

PAGE: Final = CHART / "README.md"
KEY: Final = re.compile(r"( *)([A-Za-z]\w*):")
_INTRO: Final = """# batchjob-operator

The chart of [BatchJob](../../README.md): the operator, its HTTP API and admin UI, and a Redis to begin with.

```sh
helm upgrade --install batchjob charts/batchjob-operator --namespace batchjob-system --create-namespace --wait
helm test batchjob --namespace batchjob-system
```

An upgrade brings the CustomResourceDefinitions with it (`crds.install`). `helm uninstall` leaves them, every BatchJob,
and Redis' claim and password (`crds.keep`).

## Values

Generated from values.yaml: `make generate`. values.schema.json checks them, and refuses what is unknown or misspelt.
A row without words belongs to the one above.

| value | default | |
|---|---|---|
"""


class Value(NamedTuple):
    """A key of values.yaml: its path, its default (None for one that has others in it), and what is said of it."""

    path: str
    default: Any
    said: str


def build_page() -> str:
    """The page."""
    values = read_values((CHART / "values.yaml").read_text())
    rows = (f"| `{value.path}` | {_shown(value.default)} | {value.said} |\n" for value in values)
    return _INTRO + "".join(rows)


def read_values(text: str) -> Iterator[Value]:
    """The leaves in their order, and what has leaves in it where that is described by itself."""
    values = yaml.safe_load(text)
    within: list[tuple[int, str]] = []  # indent and name of each key that is open
    comment: list[str] = []
    above = ""  # what was said of a key, while nothing of it has come
    leaf = 1_000  # indent of the last leaf
    for line in text.splitlines():
        found = KEY.match(line)
        if found and len(found[1]) > leaf:
            continue  # amounts of resources
        if not found:
            comment = [*comment, line.strip().lstrip("# ")] if line.strip() else []
            continue
        while within and within[-1][0] >= len(found[1]):
            within.pop()
        if above and comment:
            yield Value(".".join(name for _, name in within), None, above)
            above = ""
        within.append((len(found[1]), found[2]))
        default = values
        for _, name in within:
            default = default[name]
        said = " ".join(" ".join(comment).split()) or above
        is_leaf = not isinstance(default, dict) or not default or found[2] == "resources"
        above, comment, leaf = "" if is_leaf else said, [], len(found[1]) if is_leaf else 1_000
        if is_leaf:
            yield Value(".".join(name for _, name in within), default, said)


def _shown(default: Any) -> str:
    return "" if default in ("", None) else f"`{json.dumps(default) if not isinstance(default, str) else default}`"
