"""Helm 3 makes the same of the chart as Helm 4. What it does with a cluster: tests/cluster/test_helm_3.py."""

from pathlib import Path

import pytest

from tests.chart.rendering import CHART, HERE, HelmError, objects, run_helm
from tests.localcluster.tools import helm_3


@pytest.mark.parametrize("values", sorted((HERE / "values").glob("*.yaml")), ids=lambda path: path.stem)
def test_it_renders_the_same_objects(values: Path) -> None:
    found = objects("--values", values, program=helm_3())
    assert len(found) > 10
    assert found == objects("--values", values)


def test_it_finds_nothing_wrong_with_the_chart_and_refuses_the_same_values() -> None:
    assert run_helm("version", "--short", program=helm_3()).startswith("v3.")
    run_helm("lint", "--strict", CHART, program=helm_3())
    with pytest.raises(HelmError, match="logLevel"):
        run_helm("template", "batchjob", CHART, "--set", "logLevel=loud", program=helm_3())
