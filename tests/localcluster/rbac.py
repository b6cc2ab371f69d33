"""The rights that the cluster's own parts need beyond what Kubernetes gives them by name."""

from typing import Any, Final

_API: Final = "rbac.authorization.k8s.io"


def manifests() -> list[dict[str, Any]]:
    """DNS may read what it answers from; the API server may call the kubelet (logs, exec, port-forward)."""
    read = ["list", "watch"]
    return [
        {
            "apiVersion": f"{_API}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": read},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            ],
        },
        _binding("system:coredns", "system:coredns"),
        _binding("system:kubelet-api-admin", "kube-apiserver"),
    ]


def _binding(role: str, user: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"batchjob-test:{user}"},
        "roleRef": {"apiGroup": _API, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _API, "kind": "User", "name": user}],
    }
