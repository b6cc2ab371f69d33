"""The chart rendered by helm, as text and as objects."""

import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.localcluster.tools import helm

HERE: Final = Path(__file__).parent
CHART: Final = HERE.parents[1] / "charts" / "batchjob-operator"
RELEASE: Final = ("batchjob", "--namespace", "batchjob-system", "--kube-version", "1.37.0")


class Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, as kustomize does; Helm takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Of the keys of one mapping each is another."""
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{sorted(keys)}: {node.start_mark}"
        return super().construct_mapping(node, deep=deep)


class HelmError(Exception):
    """helm ended with another code than 0; the text is what it said."""


def run_helm(*arguments: str | Path, program: Path | None = None) -> str:
    """Run helm, or another one, without a cluster; returns its standard output."""
    done = subprocess.run(
        [program or helm(), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def render(*arguments: str | Path, program: Path | None = None) -> str:
    """`helm template` of a release named batchjob; `arguments` such as --set or --values."""
    return run_helm("template", *RELEASE[:1], CHART, *RELEASE[1:], *arguments, program=program)


def objects(*arguments: str | Path, program: Path | None = None) -> list[dict[str, Any]]:
    """The rendered objects."""
    return [found for found in yaml.load_all(render(*arguments, program=program), Strict) if found]


def of_kind(found: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """Those of some kinds."""
    return [item for item in found if item["kind"] in kinds]
