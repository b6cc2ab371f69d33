"""What the client makes: a BatchJob of one item, and the raw Job beside it, one pod each."""

from typing import Any

from tests.support.manifests import inline, noop


def batch_job(name: str) -> dict[str, Any]:
    """A BatchJob."""
    return noop(name, inline(1))


def raw_job(name: str) -> dict[str, Any]:
    """A Job as people write it."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "worker:test", "args": ["worker"]}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": pod}},
    }
