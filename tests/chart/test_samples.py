"""The BatchJobs that the chart comes with: that of `helm test`, and the one that its notes show."""

from typing import Any

import yaml

from tests.chart.rendering import CHART, RELEASE, objects, of_kind, run_helm

COMMAND = "kubectl apply -f - <<'END'\n"


def test_both_stay_below_any_cap_on_concurrency() -> None:
    strict = ("--set", "policies.caps.maxConcurrency=1")
    assert [sample["spec"]["concurrency"] for sample in (of_test(*strict), of_notes(*strict))] == [1, 1]


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
