"""What the kind provider asks of kind and Docker, told by programs of these names that write down their calls.

CI has no Docker daemon, so kind itself is not run anywhere; this much can be held without it.
"""

from pathlib import Path

import pytest

from tests.localcluster.kind import CONFIG, KindProvider

RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >> "{folder}/calls"
case "$1 $2" in "get clusters") cat "{folder}/clusters" ;; esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("kind", "docker"):
        (tmp_path / name).write_text(RECORDER.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "clusters").write_text("somebody-elses\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("BATCHJOB_CLUSTER_STATE", str(tmp_path / "state"))
    return tmp_path


def calls(folder: Path) -> list[str]:
    made = (folder / "calls").read_text().splitlines()
    (folder / "calls").unlink()
    return [call for call in made if call != "kind get clusters"]


def test_a_missing_kind_cluster_is_created_and_one_that_is_there_is_used(folder: Path) -> None:
    kind = KindProvider()
    kind.up()
    ours = f"--name batchjob --kubeconfig {kind.kubeconfig}"
    assert calls(folder) == [f"kind create cluster --config {CONFIG} --wait 180s {ours}"]
    (folder / "clusters").write_text("batchjob\n")
    kind.up()
    assert calls(folder) == [f"kind export kubeconfig {ours}"]


def test_images_are_built_by_docker_and_loaded_into_the_node(folder: Path) -> None:
    kind = KindProvider()
    kind.load_images(["worker"])
    build, load = calls(folder)
    assert build.startswith("docker build --tag batchjob.local/worker:dev --file /")
    assert load == "kind load docker-image batchjob.local/worker:dev --name batchjob"


def test_a_deleted_kind_cluster_leaves_no_kubeconfig(folder: Path) -> None:
    kind = KindProvider()
    kind.up()
    kind.kubeconfig.write_text("")
    kind.down()
    assert calls(folder)[-1].startswith("kind delete cluster --name batchjob")
    assert not kind.kubeconfig.exists()


def test_without_a_cluster_kind_is_not_healthy(folder: Path) -> None:
    assert (folder / "clusters").exists()
    assert not KindProvider().status().healthy
