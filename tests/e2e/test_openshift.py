"""Rules like those of OpenShift's restricted-v2: a pod that names a user is refused, and the cluster gives it one."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.e2e.conftest import NAMESPACE
from tests.localcluster.programs import WANTED
from tests.support.cluster_jobs import Jobs
from tests.support.installation import RELEASE, SYSTEM, Installation
from tests.support.manifests import batch_job, config_map

USER: Final = 1000650000
NAME: Final = "like-openshift"
PODS: Final = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


def rules() -> list[dict[str, Any]]:
    """One policy that refuses the users of others and one that fills in the namespace's own."""
    spaces = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [SYSTEM, NAMESPACE]}
    match = {"resourceRules": [PODS], "namespaceSelector": {"matchExpressions": [spaces]}}
    fills = (
        "Object{spec: Object.spec{securityContext: Object.spec.securityContext{"
        f"runAsUser: has(object.spec.securityContext.runAsUser) ? object.spec.securityContext.runAsUser : {USER}, "
        f"fsGroup: has(object.spec.securityContext.fsGroup) ? object.spec.securityContext.fsGroup : {USER}}}}}}}"
    )
    own = " && ".join(f"object.spec.securityContext.{name} == {USER}" for name in ("runAsUser", "fsGroup"))
    specs: dict[str, dict[str, Any]] = {
        "Mutating": {
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": fills}}],
        },
        "Validating": {"validations": [{"expression": own, "message": "not a user of this namespace"}]},
    }
    found: list[dict[str, Any]] = []
    for kind, spec in specs.items():
        about = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": NAME}}
        actions = {"validationActions": ["Deny"]} if kind == "Validating" else {}
        policy = {"failurePolicy": "Fail", "matchConstraints": match, **spec}
        found += [
            {**about, "kind": f"{kind}AdmissionPolicy", "spec": policy},
            {**about, "kind": f"{kind}AdmissionPolicyBinding", "spec": {"policyName": NAME, **actions}},
        ]
    return found


@pytest.fixture
def there(installation: Installation, jobs: Jobs) -> Iterator[None]:
    """The installation as it is on OpenShift, while a test runs."""
    kinds = [f"{kind.lower()}/{NAME}" for kind in [rule["kind"] for rule in rules()]]
    installation.cluster.apply(*rules())
    installation.install("openshift=true", "worker.copiedLabels={team}")
    yield
    jobs.delete_all()
    installation.cluster("delete", *kinds)
    installation.install()


@pytest.mark.skipif(WANTED == "1.34", reason="an API server that fills in is from Kubernetes 1.36 on")
@pytest.mark.usefixtures("there")
def test_every_pod_runs_as_whom_the_cluster_says_and_writes_to_its_claim(
    installation: Installation, jobs: Jobs
) -> None:
    assert "Succeeded" in installation.helm("test", RELEASE, "--timeout", "4m")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": NAME},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    lines = "".join(f'{{"id": "i{number}", "data": {{"n": {number}}}}}\n' for number in range(30))
    job = batch_job(
        "of-no-user",
        "export",
        {"configMapRef": {"name": "no-user", "key": "items.jsonl"}},
        {"format": "csv", "destination": {"url": "file:///data/out"}},
        worker={"volumes": [{"claimName": NAME, "mountPath": "/data"}]},
    )
    job["metadata"]["labels"] = {"team": "billing"}
    jobs.apply(claim, config_map("no-user", items_jsonl=lines), job)
    assert jobs.wait_complete("of-no-user")["counts"]["succeeded"] == 30
    pods = [*jobs.kubectl.items("pods", "-l", "team=billing"), *installation.cluster.items("pods")]
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    components = {pod["metadata"]["labels"].get("app.kubernetes.io/component") for pod in alive}
    assert {"worker", "operator", "gateway", "redis"} <= components
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in alive} == {USER}
    jobs.kubectl("delete", "persistentvolumeclaim", NAME, "--wait=false")
