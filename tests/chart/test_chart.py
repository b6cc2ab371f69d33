"""The chart, rendered without a cluster: compared with what was committed, and checked against Kubernetes' schemas."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi import APIRouter
from pydantic_settings import BaseSettings
from starlette.routing import Route, WebSocketRoute

from batchjob import traces
from batchjob.controller.manifests import MANAGED_BY, MANAGER
from batchjob.controller.settings import Settings
from batchjob.gateway.app import ROUTERS
from batchjob.gateway.settings import GatewaySettings
from batchjob.gateway.staging import Staging
from batchjob.store.settings import PREFIX
from tests.chart.rendering import CHART, HERE, HelmError, Strict, objects, of_kind, render, run_helm
from tests.support.gateway_world import RIGHTS

CRDS = HERE.parents[1] / "crds"
VALUES = sorted((HERE / "values").glob("*.yaml"))
NO_CRDS = ("--set", "crds.install=false")
KEEP = {"helm.sh/resource-policy": "keep"}

OPENAPI = "/openapi.json"
PROCESSES: dict[str, type[BaseSettings]] = {"operator": Settings, "gateway": GatewaySettings}

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
        if not found["apiVersion"].startswith(("gateway.networking.k8s.io/", "monitoring.coreos.com/")):  # of others
            kubernetes_validate.validate(found, "1.37", strict=True)


@every_value_set
def test_every_pod_meets_the_restricted_pod_security_standard(values: Path) -> None:
    found = objects("--values", values)
    workloads = of_kind(found, "Deployment", "StatefulSet", "Job", "DaemonSet")
    assert workloads
    for pod in [w["spec"]["template"]["spec"] for w in workloads] + [pod["spec"] for pod in of_kind(found, "Pod")]:
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


def test_with_watched_namespaces_nothing_but_queues_and_questions_is_bound_in_the_whole_cluster() -> None:
    found = objects("--set", "watchNamespaces={team-a,team-b}")
    bound_roles = {binding["roleRef"]["name"] for binding in of_kind(found, "ClusterRoleBinding")}
    roles = [role for role in of_kind(found, "ClusterRole") if role["metadata"]["name"] in bound_roles]
    assert len(roles) == len(bound_roles) == 2, "the operator's and the gateway's"
    resources = {name for role in roles for rule in role["rules"] for name in rule["resources"]}
    assert resources == {"batchqueues", "batchqueues/status", "tokenreviews", "subjectaccessreviews"}
    bound = {binding["metadata"]["namespace"] for binding in of_kind(found, "RoleBinding")}
    assert bound == {"team-a", "team-b", "batchjob-system"}


@pytest.mark.parametrize("aggregated", ["true", "false"])
def test_a_role_for_admins_of_queues_is_there_and_nobody_has_it(aggregated: str) -> None:
    found = objects("--set", f"rbac.aggregateToUserRoles={aggregated}")
    name = "batchjob-system-batchjob-queue-admin"
    (role,) = (role for role in of_kind(found, "ClusterRole") if role["metadata"]["name"] == name)
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    assert role["rules"] == [{"apiGroups": ["batchjob.dev"], "resources": ["batchqueues"], "verbs": verbs}]
    assert not [label for label in role["metadata"]["labels"] if "aggregate" in label]
    assert name not in {one["roleRef"]["name"] for one in of_kind(found, "ClusterRoleBinding", "RoleBinding")}


@pytest.mark.parametrize("release", ["my.app", "123", f"{'a' * 36}--bb-batchjob"])
def test_any_name_of_a_release_makes_names_that_kubernetes_takes(release: str) -> None:
    monitored = ("--values", HERE / "values" / "monitoring.yaml")
    text = run_helm("template", release, CHART, "--namespace", "9", "--kube-version", "1.37.0", *monitored, *NO_CRDS)
    for found in yaml.load_all(text, Strict):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", found["metadata"]["name"]), found["metadata"]["name"]
        if not found["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(found, "1.37", strict=True)


def test_a_label_by_value_takes_the_place_of_none_of_the_charts_own() -> None:
    labels = {"release": "prometheus", "app.kubernetes.io/name": "x", "team": "a"}
    settings = [
        f"{where}.{key.replace('.', chr(92) + '.')}={value}"
        for key, value in labels.items()
        for where in ("commonLabels", "monitoring.podMonitors.labels")
    ]
    told = objects(
        "--set", "monitoring.podMonitors.enabled=true", *chain.from_iterable(("--set", one) for one in settings)
    )
    for found in of_kind(told, "PodMonitor"):
        assert found["metadata"]["labels"].items() >= {("app.kubernetes.io/name", "batchjob-operator"), ("team", "a")}


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
        ("worker.podLabels.team=a b", "at '/worker/podLabels/team'"),
        ("worker.copiedLabels={team=a}", "at '/worker/copiedLabels/0'"),
        ("serviceAccount.create=false", "at '/serviceAccount/name': minLength"),
        ("worker.graceSeconds=0", "at '/worker/graceSeconds': minimum"),
        ("notify.allowedNetworks={inside}", "at '/notify/allowedNetworks/0'"),
        ("smtp.host=mail.example.com", "at '/smtp/from': minLength"),
        ("smtp.tls=maybe", "at '/smtp/tls'"),
        ("logLevel=loud", "at '/logLevel'"),
        ("traces.endpoint=otel-collector:4318", "at '/traces/endpoint'"),
        ("traces.ratio=10", "at '/traces/ratio': maximum"),
        ("monitoring.podMonitors.interval=often", "at '/monitoring/podMonitors/interval'"),
        ("monitoring.rules.runbooksUrl=runbooks", "at '/monitoring/rules/runbooksUrl'"),
        ("watchNamespaces={Team_A}", "at '/watchNamespaces/0'"),
        ("policies.owners.fill=yes", "at '/policies/owners/fill'"),
        ("policies.caps.maxParallelism=-1", "at '/policies/caps/maxParallelism': minimum"),
        ("policies.caps.imagePrefixes={registry/team}", "at '/policies/caps/imagePrefixes/0'"),
        ("gateway.oidc.issuer=https://sso.example.com", "at '/gateway/oidc/audience': minLength"),
        ("gateway.oidc.issuer=http://sso.example.com", "at '/gateway/oidc/issuer'"),
        ("gateway.oidc.clientId=ui", "at '/gateway/oidc/issuer': minLength"),
        ("gateway.publicUrl=http://batch.example.com", "at '/gateway/publicUrl'"),
        ("gateway.ingress.enabled=true", "at '/gateway/ingress/host': minLength"),
        ("gateway.httpRoute.enabled=true", "at '/gateway/httpRoute/parentRefs': minItems"),
        ("gateway.tokenReview=false", "at '/gateway'"),
        ("gateway.staging.url=ftp://host/x", "at '/gateway/staging/url'"),
        ("gateway.staging.url=file:///staging", "at '/gateway/staging/claim': minLength"),
        ("gateway.staging.claim=uploads", "at '/gateway/staging/claim': maxLength"),
        ("gateway.ui.links[0].name=x,gateway.ui.links[0].url=javascript:alert", "at '/gateway/ui/links/0/url'"),
        ("replicas=0", "at '/replicas': minimum"),
        ("global.imageRegistry=https://registry.example.com", "at '/global/imageRegistry'"),
        ("gateway.autoscaling.cpuPercent=0", "at '/gateway/autoscaling/cpuPercent': minimum"),
        ("test.timeout=180", "at '/test/timeout'"),
        ("extraObjects[0].kind=ConfigMap", "at '/extraObjects/0': missing properties 'apiVersion', 'metadata'"),
        ("replica=3", "additional properties 'replica' not allowed"),
    ],
)
def test_the_schema_refuses_a_bad_value_and_names_it(setting: str, words: str) -> None:
    with pytest.raises(HelmError) as error:
        render("--set", setting)
    assert words in str(error.value)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_a_second_pod_runs_on_another_node_and_one_of_them_stays_where_nodes_are_drained(
    component: str, replicas: int
) -> None:
    found = objects("--set", f"{'' if component == 'operator' else 'gateway.'}replicas={replicas}")
    deployment = deployment_of(found, component)
    assert deployment["spec"]["replicas"] == replicas
    assert ("topologySpreadConstraints" in deployment["spec"]["template"]["spec"]) == (replicas > 1)
    budgets = [budget["spec"]["selector"] for budget in of_kind(found, "PodDisruptionBudget")]
    assert (deployment["spec"]["selector"] in budgets) == (replicas > 1)


def test_every_image_comes_from_the_mirror() -> None:
    rendered = render("--set", "global.imageRegistry=mirror.example.com/batch/", *NO_CRDS)
    images = re.findall(r"image: (\S+)|_IMAGE\w*\n +value: (\S*/\S+)", rendered)
    assert len(images) >= 7
    assert all((image or variable).startswith("mirror.example.com/batch/") for image, variable in images)


def test_labels_of_ones_own_do_not_take_pods_from_their_deployment() -> None:
    found = objects("--set", r"podLabels.app\.kubernetes\.io/component=mine,podLabels.team=x")
    deployment = deployment_of(found, "operator")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == deployment["selector"]["matchLabels"] | {"team": "x"}


def test_what_scales_by_its_load_has_no_number_of_its_own() -> None:
    found = objects("--set", "gateway.autoscaling.enabled=true,gateway.replicas=1")
    deployment = deployment_of(found, "gateway")
    assert "replicas" not in deployment["spec"]
    [scaler] = of_kind(found, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    budgets = [budget["spec"]["selector"] for budget in of_kind(found, "PodDisruptionBudget")]
    assert deployment["spec"]["selector"] in budgets, "there may be more than one"


def test_every_value_is_in_the_schema_and_has_a_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert known(schema, schema) == paths(values)


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


def test_every_value_changes_what_is_rendered(tmp_path: Path) -> None:
    """In one of the sets of values it is said, and the rendering is another one (or refused) without it."""
    unseen = paths(yaml.safe_load((CHART / "values.yaml").read_text()))

    def renders(values: dict[str, Any], name: str) -> str:
        file = tmp_path / name
        file.write_text(yaml.safe_dump(values))
        try:
            return render("--values", file)
        except HelmError:
            return ""

    with ThreadPoolExecutor() as pool:
        for chosen in (yaml.safe_load(path.read_text()) for path in VALUES):
            whole = renders(chosen, "whole")
            said = sorted(leaf for leaf in unseen if lookup(chosen, leaf) is not None)
            others = pool.map(renders, [without(chosen, leaf) for leaf in said], said)
            unseen -= {leaf for leaf, other in zip(said, others, strict=True) if other != whole}
    assert not unseen, sorted(unseen)


def lookup(values: Any, leaf: str) -> Any:
    """What values say of a leaf; None: nothing."""
    for name in leaf.split("."):
        if not isinstance(values, dict) or name not in values:
            return None
        values = values[name]
    return values


def without(values: dict[str, Any], leaf: str) -> dict[str, Any]:
    """Values that do not say it."""
    first, _, rest = leaf.partition(".")
    return {name: without(one, rest) if name == first else one for name, one in values.items() if name != first or rest}


@every_value_set
def test_every_variable_is_a_setting_that_the_process_reads(values: Path) -> None:
    for deployment in of_kind(objects("--values", values), "Deployment"):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        variables = [variable["name"] for variable in container["env"]]
        settings = {f"{PREFIX}{name.upper()}" for name in PROCESSES[container["args"][0]].model_fields}
        assert set(variables) <= settings | set(traces.HANDED_ON)
        assert len(variables) == len(set(variables))


def settings_of(pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatewaySettings:
    """What a gateway reads from the variables of its pod."""
    for variable in pod["containers"][0]["env"]:
        if "value" in variable and not variable["name"].endswith("_FILE"):
            monkeypatch.setenv(variable["name"], variable["value"])
    return GatewaySettings.read()


def mounts_of(pod: dict[str, Any]) -> dict[str, Any]:
    """What is mounted where."""
    volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}


def test_the_gateway_finds_what_it_stages_uploads_with_where_its_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = deployment_of(objects("--values", HERE / "values" / "gateway.yaml"), "gateway")["spec"]["template"]["spec"]
    settings, mounts = settings_of(pod, monkeypatch), mounts_of(pod)
    assert (settings.staging_url, settings.uploads_max_bytes) == ("s3://uploads/batchjob", 268435456)
    folder = settings.staging_references_dir
    assert mounts[f"{folder}/credentials"] == {"secret": {"secretName": settings.staging_secret}}
    assert mounts[f"{folder}/ca"] == {"configMap": {"name": settings.staging_ca_config_map}}


def test_uploads_that_are_staged_on_a_claim_go_where_workers_mount_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = deployment_of(objects("--values", HERE / "values" / "staging.yaml"), "gateway")["spec"]["template"]["spec"]
    staging = Staging.read(settings_of(pod, monkeypatch))
    assert staging
    assert staging.volume == {"claimName": "batchjob-staging", "mountPath": "/staging", "readOnly": True}
    assert mounts_of(pod)["/staging"] == {"persistentVolumeClaim": {"claimName": "batchjob-staging"}}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_every_pod_that_shows_metrics_is_scraped_at_a_port_that_it_has() -> None:
    found = objects("--values", HERE / "values" / "monitoring.yaml")
    monitors = {monitor["metadata"]["name"]: monitor["spec"] for monitor in of_kind(found, "PodMonitor")}
    assert monitors.keys() == {"batchjob-operator", "batchjob-gateway", "batchjob-workers"}
    for component in ("operator", "gateway"):
        deployment, monitor = deployment_of(found, component), monitors[f"batchjob-{component}"]
        assert monitor["selector"] == deployment["spec"]["selector"]
        ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
        assert monitor["podMetricsEndpoints"][0]["port"] in {port["name"] for port in ports}
    workers = monitors["batchjob-workers"]
    assert workers["namespaceSelector"] == {"any": True}
    labels = {MANAGED_BY: MANAGER, "app.kubernetes.io/component": "worker"}
    assert workers["selector"] == {"matchLabels": labels}
    values = (
        "--values",
        HERE / "values" / "monitoring.yaml",
        "--set",
        "watchNamespaces={team-a},gateway.enabled=false",
    )
    some = {monitor["metadata"]["name"]: monitor["spec"] for monitor in of_kind(objects(*values), "PodMonitor")}
    assert some.keys() == {"batchjob-operator", "batchjob-workers"}
    assert some["batchjob-workers"]["namespaceSelector"] == {"matchNames": ["team-a"]}


def test_the_settings_of_the_gateway_can_be_read_from_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = deployment_of(objects("--values", HERE / "values" / "gateway.yaml"), "gateway")
    settings = settings_of(gateway["spec"]["template"]["spec"], monkeypatch)
    assert (settings.oidc_username_claim, settings.oidc_username_prefix) == ("email", "")
    assert (settings.token_review, settings.reads_per_minute) == (False, 1200)


def test_logs_and_links_of_the_admin_ui_are_there_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    found = objects("--values", HERE / "values" / "namespaced.yaml")
    for variable in deployment_of(found, "gateway")["spec"]["template"]["spec"]["containers"][0]["env"]:
        if "value" in variable:
            monkeypatch.setenv(variable["name"], variable["value"])
    settings = GatewaySettings.read()
    assert (settings.pod_logs, settings.watch_namespaces) == (True, ("team-a", "team-b"))
    assert [one.name for one in settings.ui_links] == ["Grafana"]
    [role] = [
        role
        for role in of_kind(found, "ClusterRole")
        if role["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
        and "queues" not in role["metadata"]["name"]
    ]
    assert granted(role["rules"]) - granted(RIGHTS) == {("", "pods/log", "get")}


def test_outside_there_is_the_api_and_neither_probes_nor_metrics() -> None:
    found = objects("--values", HERE / "values" / "gateway.yaml")
    [ingress], [route] = of_kind(found, "Ingress"), of_kind(found, "HTTPRoute")
    outside = [path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]]
    assert outside == [match["path"]["value"] for match in route["spec"]["rules"][0]["matches"]]
    routes = [path for router in ROUTERS for path in paths_of(router)]
    assert [path for path in routes if not path.startswith(tuple(outside))] == ["/healthz", "/readyz", "/metrics"]
    assert all(any(path.startswith(one) for path in [*routes, OPENAPI]) for one in outside), "a path to nowhere"


def test_the_gateway_has_a_service_and_the_rights_that_its_tests_have() -> None:
    found = objects("--values", HERE / "values" / "gateway.yaml")
    [service] = [item for item in of_kind(found, "Service") if item["metadata"]["name"].endswith("-gateway")]
    gateway = deployment_of(found, "gateway")
    assert service["spec"]["selector"] == gateway["spec"]["selector"]["matchLabels"]
    rules = [
        rule
        for role in of_kind(found, "ClusterRole", "Role")
        if role["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
        for rule in role["rules"]
    ]
    assert granted(rules) == granted(RIGHTS), "what its tests have, and no more"
    [secrets] = [rule for rule in rules if "secrets" in rule["resources"]]
    assert secrets["resourceNames"] == ["batchjob-api-keys"]


def granted(rules: Sequence[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    """Group, resource and verb of each right."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def deployment_of(found: list[dict[str, Any]], component: str) -> dict[str, Any]:
    """The Deployment of the operator or of the gateway."""
    [deployment] = [
        item
        for item in of_kind(found, "Deployment")
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    return deployment


def paths_of(router: APIRouter) -> list[str]:
    """The paths of its routes."""
    return [route.path for route in router.routes if isinstance(route, Route | WebSocketRoute)]


def test_redis_lets_in_the_gateway_and_the_pods_that_the_operator_labels_as_workers() -> None:
    found = objects()
    (policy,) = of_kind(found, "NetworkPolicy")
    gateway = deployment_of(found, "gateway")["spec"]["selector"]
    assert {"podSelector": gateway} in policy["spec"]["ingress"][0]["from"]
    worker = {"matchLabels": {MANAGED_BY: MANAGER, "app.kubernetes.io/component": "worker"}}
    assert {"namespaceSelector": {}, "podSelector": worker} in policy["spec"]["ingress"][0]["from"]


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
    operator = deployment_of(found, "operator")
    variables = {entry["name"] for entry in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert ("batchjob-system-batchjob-reports" in names) is is_checked
    assert ("BATCHJOB_REPORTS_ON_ALL" in variables) is is_checked
