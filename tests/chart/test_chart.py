"""The chart, rendered without a cluster: compared with what was committed, and checked against Kubernetes' schemas."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from batchjob.controller.manifests import MANAGED_BY, MANAGER
from batchjob.controller.settings import Settings
from batchjob.store.settings import PREFIX
from tests.chart.rendering import CHART, HERE, HelmError, objects, of_kind, render, run_helm

CRDS = HERE.parents[1] / "crds"
VALUES = sorted((HERE / "values").glob("*.yaml"))
NO_CRDS = ("--set", "crds.install=false")
KEEP = {"helm.sh/resource-policy": "keep"}

every_value_set = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)


@every_value_set
def test_the_rendering_is_the_committed_one(values: Path, *, update_golden: bool) -> None:
    golden = HERE / "golden" / values.name
    rendered = render("--values", values, *NO_CRDS)
    if update_golden:
        golden.write_text(rendered)
    assert rendered == golden.read_text()


@every_value_set
def test_every_object_fits_the_schemas_of_kubernetes(values: Path) -> None:
    for found in objects("--values", values):
        kubernetes_validate.validate(found, "1.37", strict=True)


@every_value_set
def test_every_pod_meets_the_restricted_pod_security_standard(values: Path) -> None:
    found = of_kind(objects("--values", values), "Deployment", "StatefulSet", "Job", "DaemonSet")
    assert found
    for workload in found:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, container["name"]
            assert container["resources"]["limits"]["memory"], container["name"]


@every_value_set
def test_no_role_has_a_wildcard_and_no_one_may_list_secrets(values: Path) -> None:
    for role in of_kind(objects("--values", values), "ClusterRole", "Role"):
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in words
            assert "secrets" not in rule["resources"] or not {"list", "watch"} & set(rule["verbs"])


def test_with_watched_namespaces_nothing_but_the_queues_is_bound_in_the_whole_cluster() -> None:
    found = objects("--set", "watchNamespaces={team-a,team-b}")
    [binding] = of_kind(found, "ClusterRoleBinding")
    [role] = [role for role in of_kind(found, "ClusterRole") if role["metadata"]["name"] == binding["roleRef"]["name"]]
    assert {name for rule in role["rules"] for name in rule["resources"]} == {"batchqueues", "batchqueues/status"}
    bound = {binding["metadata"]["namespace"] for binding in of_kind(found, "RoleBinding")}
    assert bound == {"team-a", "team-b", "batchjob-system"}


def test_rendering_twice_gives_the_same() -> None:
    assert render() == render()


def test_the_crds_are_those_of_the_repository() -> None:
    for source in CRDS.glob("*.yaml"):
        assert (CHART / "files" / "crds" / source.name).read_bytes() == source.read_bytes()
    wanted = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    assert of_kind(objects("--set", "crds.keep=false"), "CustomResourceDefinition") == wanted
    kept = of_kind(objects(), "CustomResourceDefinition")
    assert [crd["metadata"].pop("annotations") for crd in kept] == [KEEP] * len(wanted)
    assert kept == wanted
    assert not of_kind(objects(*NO_CRDS), "CustomResourceDefinition")


@every_value_set
def test_the_chart_holds_no_custom_resource_of_ours(values: Path) -> None:
    assert not [found for found in objects("--values", values) if found["apiVersion"].startswith("batchjob.dev/")]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("redis.persistense.enabled=false", "additional properties 'persistense' not allowed"),
        ("redis.mode=cluster", "value must be one of 'embedded', 'external'"),
        ("redis.mode=external", "at '/redis/url': minLength"),
        ("redis.url=redis://elsewhere:6379", "at '/redis/url': maxLength"),
        ("redis.mode=external,redis.url=redis://me:secret@elsewhere:6379", "at '/redis/url'"),
        ("redis.maxMemory=lots", "at '/redis/maxMemory'"),
        ("image.digest=latest", "at '/image/digest'"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy'"),
        ("worker.graceSeconds=0", "at '/worker/graceSeconds': minimum"),
        ("notify.allowedNetworks={inside}", "at '/notify/allowedNetworks/0'"),
        ("smtp.host=mail.example.com", "at '/smtp/from': minLength"),
        ("smtp.tls=maybe", "at '/smtp/tls'"),
        ("logLevel=loud", "at '/logLevel'"),
        ("watchNamespaces={Team_A}", "at '/watchNamespaces/0'"),
        ("policies.owners.fill=yes", "at '/policies/owners/fill'"),
        ("policies.caps.maxParallelism=-1", "at '/policies/caps/maxParallelism': minimum"),
        ("policies.caps.imagePrefixes={registry/team}", "at '/policies/caps/imagePrefixes/0'"),
        ("replicas=0", "at '/replicas': minimum"),
        ("replica=3", "additional properties 'replica' not allowed"),
    ],
)
def test_the_schema_refuses_a_bad_value_and_names_it(setting: str, words: str) -> None:
    with pytest.raises(HelmError) as error:
        render("--set", setting)
    assert words in str(error.value)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_second_operator_runs_on_another_node_and_one_of_them_stays_where_nodes_are_drained(replicas: int) -> None:
    found = objects("--set", f"replicas={replicas}")
    [operator] = of_kind(found, "Deployment")
    assert operator["spec"]["replicas"] == replicas
    assert ("topologySpreadConstraints" in operator["spec"]["template"]["spec"]) == (replicas > 1)
    assert [budget["spec"]["selector"] for budget in of_kind(found, "PodDisruptionBudget")] == (
        [operator["spec"]["selector"]] if replicas > 1 else []
    )


def test_every_value_is_in_the_schema_and_has_a_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert known(schema, schema) - {"global"} == paths(values)


def known(node: dict[str, Any], root: dict[str, Any], path: str = "") -> set[str]:
    """Paths of the fields that the schema lists, down to values without listed fields."""
    if "$ref" in node:
        node = root["$defs"][node["$ref"].removeprefix("#/$defs/")]
    fields = node.get("properties", {})
    if not fields or path.endswith("resources"):
        return {path.lstrip(".")}
    return set().union(*(known(child, root, f"{path}.{name}") for name, child in fields.items()))


def paths(value: Any, path: str = "") -> set[str]:
    """Paths of the leaves of values.yaml."""
    if not isinstance(value, dict) or not value or path.endswith("resources"):
        return {path.lstrip(".")}
    return set().union(*(paths(child, f"{path}.{name}") for name, child in value.items()))


@every_value_set
def test_every_variable_of_the_operator_is_a_setting_it_reads(values: Path) -> None:
    (deployment,) = of_kind(objects("--values", values), "Deployment")
    variables = [variable["name"] for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]]
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(variables) <= settings
    assert len(variables) == len(set(variables))


def test_redis_lets_in_the_pods_that_the_operator_labels_as_workers() -> None:
    (policy,) = of_kind(objects(), "NetworkPolicy")
    worker = {"matchLabels": {MANAGED_BY: MANAGER, "app.kubernetes.io/component": "worker"}}
    assert {"namespaceSelector": {}, "podSelector": worker} in policy["spec"]["ingress"][0]["from"]


def test_redis_never_evicts_and_writes_every_change_down() -> None:
    (config,) = of_kind(objects(), "ConfigMap")
    lines = config["data"]["redis.conf"].splitlines()
    assert {"maxmemory-policy noeviction", "appendonly yes", "appendfsync everysec"} <= set(lines)


def test_a_changed_configuration_restarts_redis() -> None:
    def checksum(*arguments: str) -> str:
        (redis,) = of_kind(objects(*arguments), "StatefulSet")
        found: str = redis["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return found

    assert checksum() != checksum("--set", "redis.maxMemory=200mb")


def test_helm_lint_finds_nothing() -> None:
    assert "0 chart(s) failed" in run_helm("lint", "--strict", CHART)


@pytest.mark.parametrize(
    ("version", "fill", "fills"),
    [("1.35.9", "auto", False), ("1.36.0", "auto", True), ("1.35.9", "always", True), ("1.37.0", "never", False)],
)
def test_owners_are_filled_in_where_kubernetes_can(version: str, fill: str, *, fills: bool) -> None:
    owners = ("--set", f"policies.owners.enabled=true,policies.owners.fill={fill}")
    found = objects(*owners, "--kube-version", version)
    assert bool(of_kind(found, "MutatingAdmissionPolicy")) == fills
    assert [item["metadata"]["name"] for item in of_kind(found, "ValidatingAdmissionPolicyBinding")] == [
        *(f"batchjob-system-batchjob-{name}" for name in ("owners", "reports", "warnings"))
    ]


def test_every_policy_can_be_switched_off() -> None:
    found = objects("--set", "policies.warnings.enabled=false,policies.reports.onAll=false")
    assert not [item for item in found if item["apiVersion"].startswith("admissionregistration.k8s.io/")]


@pytest.mark.parametrize("is_checked", [True, False])
def test_the_operator_reports_on_all_only_where_a_policy_checks_who_may_have_that(*, is_checked: bool) -> None:
    found = objects("--set", f"policies.reports.onAll={str(is_checked).lower()}")
    names = [item["metadata"]["name"] for item in of_kind(found, "ValidatingAdmissionPolicyBinding")]
    [operator] = of_kind(found, "Deployment")
    variables = {entry["name"] for entry in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert ("batchjob-system-batchjob-reports" in names) is is_checked
    assert ("BATCHJOB_REPORTS_ON_ALL" in variables) is is_checked
