"""The chart's dashboard: each query finds something where every metric of the list is there, says promtool."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchjob.metrics import METRICS, Metric
from batchjob.metrics.dashboard import build_dashboard
from tests.chart.rendering import HERE, objects, of_kind
from tests.chart.test_alerts import promtool

AT = "2h"  # more than the longest window of a query
MISSPELT = "sum(rate(batchjob_itmes_total[5m]))"


@pytest.fixture(scope="module")
def queries() -> list[str]:
    panels = json.loads(build_dashboard())["panels"]
    return [
        target["expr"].replace("$queue", ".*").replace("$namespace", ".*")
        for panel in panels
        for target in panel["targets"]
    ]


def series_of(metric: Metric) -> list[str]:
    """The series of a metric with one value of each label; of a histogram two buckets."""
    labels = ", ".join(f'{name}="x"' for name in metric.labels)
    if metric.type != "histogram":
        return [f"{metric.name}{{{labels}}}"]
    buckets = [f'{metric.name}_bucket{{{labels}{", " if labels else ""}le="{limit}"}}' for limit in ("1", "+Inf")]
    return [*buckets, f"{metric.name}_sum{{{labels}}}", f"{metric.name}_count{{{labels}}}"]


def test_every_query_finds_something_in_the_metrics_that_there_are(queries: list[str], tmp_path: Path) -> None:
    named = {f"Query{number}": query for number, query in enumerate([*queries, MISSPELT])}
    rules = [{"alert": name, "expr": f"count({query}) > 0"} for name, query in named.items()]
    series = [{"series": one, "values": "0+1x200"} for metric in METRICS for one in series_of(metric)]
    expected: list[dict[str, Any]] = [
        {"eval_time": AT, "alertname": name, "exp_alerts": [] if query is MISSPELT else [{}]}
        for name, query in named.items()
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    test = {"interval": "1m", "input_series": series, "alert_rule_test": expected}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    promtool("test", "rules", tmp_path / "tests.yaml")


def test_the_chart_brings_the_dashboard_where_grafana_looks_for_it() -> None:
    found = of_kind(objects("--values", HERE / "values" / "monitoring.yaml"), "ConfigMap")
    [config] = [one for one in found if one["metadata"]["name"] == "batchjob-dashboard"]
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["batchjob.json"]) == json.loads(build_dashboard())
