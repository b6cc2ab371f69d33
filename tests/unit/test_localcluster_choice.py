"""Which cluster the environment asks for, and what the user is told when it cannot be had."""

from pathlib import Path

import pytest

from tests.localcluster import debian
from tests.localcluster.errors import ClusterError
from tests.localcluster.existing import ExistingProvider
from tests.localcluster.images import PRODUCT, named
from tests.localcluster.providers import NAMES, choose


def docker_answers() -> bool:
    return True


def docker_is_silent() -> bool:
    return False


def docker_must_not_be_asked() -> bool:
    pytest.fail("the environment decides; asking Docker may take seconds")


def test_a_docker_daemon_that_answers_means_kind() -> None:
    assert choose({}, docker_answers) == "kind"


def test_without_a_docker_daemon_the_cluster_is_local() -> None:
    assert choose({}, docker_is_silent) == "local"
    assert choose({"CLUSTER": ""}, docker_is_silent) == "local"


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_overrides_what_is_there(name: str) -> None:
    assert choose({"CLUSTER": name}, docker_must_not_be_asked) == name


def test_an_unknown_cluster_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ClusterError, match="'minikube'; it may be local, kind, existing"):
        choose({"CLUSTER": "minikube"}, docker_must_not_be_asked)


def test_an_existing_cluster_needs_a_kubeconfig_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(ClusterError, match="KUBECONFIG"):
        _ = ExistingProvider().kubeconfig
    (tmp_path / "here").write_text("")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "here"))
    assert ExistingProvider().kubeconfig == tmp_path / "here"


def test_the_local_cluster_says_when_it_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="run it as root, or use CLUSTER=kind"):
        debian.require_linux_root()


def test_the_local_cluster_says_when_it_is_not_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ClusterError, match="needs Linux"):
        debian.require_linux_root()


def test_images_are_named_short_or_in_full_and_none_means_all() -> None:
    assert named([]) == list(PRODUCT)
    assert [image.name for image in named(["worker"])] == ["batchjob.local/worker:dev"]
    assert named(["batchjob.local/worker:dev"]) == named(["worker"])


def test_an_unknown_image_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ClusterError, match=r"operator, worker.*asked for worker, wroker"):
        named(["worker", "wroker"])
