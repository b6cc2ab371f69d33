"""The chart's admission policies on a real API server, for tests: installed in some namespaces, and in force."""

from collections.abc import Callable
from typing import Any, Final

from kubernetes.client import CustomObjectsApi
from kubernetes.client.exceptions import ApiException

from tests.chart.rendering import objects
from tests.support.cluster_jobs import BATCH_JOBS, api_client
from tests.support.kubectl import Kubectl, wait_until

ADMISSION: Final = "admissionregistration.k8s.io/v1"
VALIDATING: Final = "validatingadmissionpolicies"
POLICIES: Final = (
    VALIDATING,
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
)


def install_policies(admin: Kubectl, release: str, namespaces: list[str], *values: str) -> list[dict[str, Any]]:
    """Apply the policies of a release that holds in these namespaces, with the roles for users; returns them.

    They are not in force yet: the API server learns of them a moment later.
    """
    # The operator of these tests has the account of the release batchjob.
    own = (f"fullnameOverride={release}", "serviceAccount.name=batchjob-operator")
    settings = [f"watchNamespaces={{{','.join(namespaces)}}}", *own, *values]
    found = objects(*(argument for setting in settings for argument in ("--set", setting)))
    wanted = [item for item in found if item["apiVersion"] == ADMISSION or _is_for_users(item)]
    admin.apply(*wanted)
    return wanted


def _is_for_users(item: dict[str, Any]) -> bool:
    name: str = item["metadata"]["name"]
    return item["kind"] == "ClusterRole" and name.endswith(("-view", "-edit", "-owner"))


def remove_policies(admin: Kubectl, release: str) -> None:
    """Remove the policies of a release."""
    for kind in POLICIES:
        names = admin("get", kind, "-o", "name").split()
        if ours := [name for name in names if f"-{release}-" in name]:
            admin("delete", *ours)


def grant(admin: Kubectl, user: str, role: str, namespace: str) -> None:
    """Give a user a ClusterRole in a namespace."""
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    admin.within(namespace).apply({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    })  # fmt: skip


def try_create(user: Kubectl, manifest: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Create a BatchJob without keeping it; returns the object and the warnings, or {} and why it was refused."""
    api = CustomObjectsApi(api_client(user.kubeconfig))
    try:
        answer: Any = api.create_namespaced_custom_object_with_http_info(
            *BATCH_JOBS, user.namespace, "batchjobs", manifest, dry_run="All"
        )
    except ApiException as error:
        return {}, str(error.body)
    found, _, headers = answer
    return dict(found), headers.get("Warning", "")


def wait_in_force(probe: Callable[[], bool], what: str) -> None:
    """Wait until a policy, or its removal, has reached the API server."""
    wait_until(probe, what, every=0.1)
