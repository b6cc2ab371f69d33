"""The chart's alerts, judged by promtool: each fires for what it is about, and is silent for what it is not."""

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchjob.metrics import METRICS
from tests.chart.rendering import HERE, objects, of_kind

CASES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "alerts.yaml").read_text())
RUNBOOKS = HERE.parents[1] / "docs" / "runbooks"
URL = "https://git.example.com/batchjob/docs/runbooks"
NAME = re.compile(r"\b(?:batchjob|queue_jobs)_\w+")
PARTS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


@pytest.fixture(scope="module")
def groups() -> dict[str, Any]:
    [found] = of_kind(objects("--values", HERE / "values" / "monitoring.yaml"), "PrometheusRule")
    spec: dict[str, Any] = found["spec"]
    return spec


@pytest.fixture(scope="module")
def rules(groups: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups["groups"] for rule in group["rules"]}


def promtool(*arguments: str | Path) -> str:
    """Run promtool; what it said, once it is content."""
    program = shutil.which("promtool")
    assert program, "promtool is not on this machine: `make promtool` installs it"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules(groups: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(groups))
    assert f"SUCCESS: {len(CASES)} rules found" in promtool("check", "rules", file)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_for_what_it_is_about_and_for_nothing_else(
    alert: str, groups: dict[str, Any], rules: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    case, rule = CASES[alert], rules[alert]
    labels = case.get("labels", {})
    queue = labels.get("queue", "")
    said = {name: text.replace("{{ $labels.queue }}", queue) for name, text in rule["annotations"].items()}
    raised = {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": said}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    tests = [
        {
            "name": kind,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in told.items()],
            "alert_rule_test": [{"eval_time": case["at"], "alertname": alert, "exp_alerts": expected}],
        }
        for kind, expected in (("fires", [raised]), ("silent", []))
        for told in scenarios(case[kind])
    ]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    promtool("test", "rules", tmp_path / "tests.yaml")


def test_every_alert_has_a_case_and_a_runbook_and_says_what_it_is(rules: dict[str, dict[str, Any]]) -> None:
    assert sorted(rules) == sorted(CASES)
    assert sorted(rules) == sorted(page.stem for page in RUNBOOKS.glob("BatchJob*.md"))
    for alert, rule in rules.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"{URL}/{alert}.md"


def test_without_an_address_of_runbooks_no_alert_has_a_link() -> None:
    [found] = of_kind(objects("--set", "monitoring.rules.enabled=true"), "PrometheusRule")
    rules = [rule for group in found["spec"]["groups"] for rule in group["rules"]]
    assert sorted(rule["alert"] for rule in rules) == sorted(CASES)
    assert [rule for rule in rules if rule["annotations"].keys() != {"summary", "description"}] == []


@pytest.mark.parametrize("alert", CASES)
def test_a_runbook_says_what_it_means_and_what_to_do(alert: str, rules: dict[str, dict[str, Any]]) -> None:
    page = (RUNBOOKS / f"{alert}.md").read_text("utf-8")
    assert page.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == PARTS
    assert "```sh\nkubectl " in page, "a command to copy"
    assert named(page) & named(yaml.safe_dump(rules[alert]["expr"])), "what it looks at"
    assert named(page) <= known().keys()
    assert f"[{alert}]({alert}.md)" in (RUNBOOKS / "README.md").read_text("utf-8")


def test_alerts_and_their_cases_are_about_metrics_that_exist(rules: dict[str, dict[str, Any]]) -> None:
    for alert, rule in rules.items():
        assert named(rule["expr"]) <= known().keys(), alert
        for kind in ("fires", "silent"):
            for series in chain.from_iterable(scenarios(CASES[alert][kind])):
                name, _, labels = series.partition("{")
                assert set(re.findall(r"(\w+)=", labels)) <= known()[name], series


def test_without_a_gateway_nothing_is_said_of_it() -> None:
    told = objects("--values", HERE / "values" / "monitoring.yaml", "--set", "gateway.enabled=false")
    [found] = of_kind(told, "PrometheusRule")
    assert [group["name"] for group in found["spec"]["groups"]] == [
        "batchjob-operator",
        "batchjob-queues",
        "batchjob-workers",
    ]


def scenarios(case: dict[str, str] | list[dict[str, str]]) -> list[dict[str, str]]:
    """Series and their values, one or several times."""
    return case if isinstance(case, list) else [case]


def known() -> dict[str, set[str]]:
    """The labels of each metric, and of the count of each histogram."""
    found = {metric.name: {*metric.labels, "namespace", "pod"} for metric in METRICS}
    found["process_start_time_seconds"] = {"namespace", "pod"}  # prometheus-client's own
    return found | {f"{metric.name}_count": found[metric.name] for metric in METRICS if metric.type == "histogram"}


def named(text: str) -> set[str]:
    """The metrics that a text names."""
    return set(NAME.findall(text))
