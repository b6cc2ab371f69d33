"""The BatchJobs that the chart comes with: that of `helm test`, and the one that its notes show."""

from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, RELEASE, objects, of_kind, run_helm

COMMAND = "kubectl apply -f - <<'END'\n"


def test_both_stay_below_any_cap_on_concurrency() -> None:
    strict = ("--set", "policies.caps.maxConcurrency=1")
    assert [sample["spec"]["concurrency"] for sample in (of_test(*strict), of_notes(*strict))] == [1, 1]


def test_both_are_made_in_a_namespace_whose_batch_jobs_are_run() -> None:
    some = ("--set", "watchNamespaces={team-a,team-b}")
    assert [sample["metadata"]["namespace"] for sample in (of_test(*some), of_notes(*some))] == ["team-a", "team-a"]
    assert of_notes()["metadata"] == {"name": "hello"}


@pytest.mark.parametrize(
    ("settings", "namespace"),
    [
        ("gateway.defaultNamespace=team-x", "team-x"),
        ("watchNamespaces={team-a,team-b}", "team-a"),
        ("watchNamespaces={team-a,team-b},gateway.defaultNamespace=team-b", "team-b"),
    ],
)
def test_and_so_is_what_is_made_over_the_http_api(settings: str, namespace: str) -> None:
    found = of_kind(objects("--set", settings), "Deployment")
    variables = [one for each in found for one in each["spec"]["template"]["spec"]["containers"][0]["env"]]
    [told] = [one["value"] for one in variables if one["name"] == "BATCHJOB_DEFAULT_NAMESPACE"]
    assert told == namespace


def of_test(*arguments: str) -> dict[str, Any]:
    """The BatchJob of `helm test`."""
    (text,) = (one["data"]["batchjob.yaml"] for one in of_kind(objects(*arguments), "ConfigMap") if is_test(one))
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def is_test(found: dict[str, Any]) -> bool:
    """Whether it is part of `helm test`."""
    return "helm.sh/hook" in found["metadata"].get("annotations", {})


def of_notes(*arguments: str) -> dict[str, Any]:
    """The BatchJob in what Helm says after an installation."""
    text = run_helm("install", RELEASE[0], CHART, *RELEASE[1:3], "--dry-run=client", *arguments)
    manifest = text.partition(COMMAND)[2].partition("  END\n")[0]
    found: dict[str, Any] = yaml.safe_load(manifest)
    return found
