"""Storage: a default class `local` and a handful of volumes, folders in the state folder.

`local` volumes honour a pod's fsGroup, as real ones do and hostPath does not. They have no provisioner: a volume
whose claim is gone stays Released, with its data, until `recycle` wipes it and offers it again.
"""

import json
from pathlib import Path
from typing import Any, Final

from tests.localcluster import mounts
from tests.localcluster.node import NODE
from tests.localcluster.tools import call_kubectl

CLASS: Final = "local"
COUNT: Final = 6  # Redis, a claim for sources, one for exports, and as many for a test beside them
CAPACITY: Final = "10Gi"  # what a claim may ask for; folders on one disk are not held to it


def folder(state: Path, name: str) -> Path:
    """Where a volume's data is."""
    return state / "volumes" / name


def names() -> list[str]:
    """The volumes' names."""
    return [f"local-{number}" for number in range(1, COUNT + 1)]


def manifests(state: Path) -> list[dict[str, Any]]:
    """The storage class and its volumes."""
    return [_storage_class(), *(_volume(state, name) for name in names())]


def make_folders(state: Path) -> None:
    """An empty folder for each volume, as a freshly formatted disk is: root's, and closed to other writers."""
    for name in names():
        folder(state, name).mkdir(parents=True, exist_ok=True)


def recycle(kubeconfig: Path, state: Path) -> list[str]:
    """Wipe released volumes and offer them again; returns their names."""
    listed = json.loads(call_kubectl(kubeconfig, "get", "persistentvolumes", "--output=json"))
    released = [
        volume["metadata"]["name"]
        for volume in listed["items"]
        if volume["spec"].get("storageClassName") == CLASS and volume["status"].get("phase") == "Released"
    ]
    for name in released:
        mounts.wipe(folder(state, name))
        folder(state, name).mkdir(parents=True)
        call_kubectl(
            kubeconfig, "patch", "persistentvolume", name, "--type=merge", '--patch={"spec":{"claimRef":null}}'
        )
    return released


def _storage_class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _volume(state: Path, name: str) -> dict[str, Any]:
    on_this_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": CAPACITY},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],  # one node: all are true
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder(state, name))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_this_node]}]}},
        },
    }
