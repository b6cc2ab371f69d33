"""The files that the cluster's programs read: kubeconfigs, tokens, volumes; and how a mess is recognised."""

import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.localcluster import cleanup, mounts, network, programs, rbac, volumes
from tests.localcluster.controlplane import SERVICE_CIDR
from tests.localcluster.credentials import ADMIN, COMPONENTS, PEOPLE, node_user, render_kubeconfig, render_token_file
from tests.localcluster.errors import ClusterError
from tests.localcluster.impersonation import render
from tests.localcluster.processes import OURS, Processes, run


def test_a_kubeconfig_names_server_certificate_and_token_of_one_user() -> None:
    config = yaml.safe_load(render_kubeconfig("https://10.0.0.1:6443", Path("/s/ca.crt"), "alice", "secret"))
    (cluster,), (user,), (context,) = config["clusters"], config["users"], config["contexts"]
    assert cluster["cluster"] == {"server": "https://10.0.0.1:6443", "certificate-authority": "/s/ca.crt"}
    assert user["user"] == {"token": "secret"}
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"]}
    assert config["current-context"] == context["name"]


def test_an_impersonated_user_keeps_the_way_in_and_changes_the_name() -> None:
    admin = render_kubeconfig("https://10.0.0.1:6443", Path("/s/ca.crt"), "admin", "secret")
    (user,) = yaml.safe_load(render(admin, "alice", "team-a"))["users"]
    assert user["user"] == {"token": "secret", "as": "alice", "as-groups": ["team-a", "system:authenticated"]}


def test_the_token_file_gives_each_user_one_line_and_only_admin_is_master() -> None:
    users = (*PEOPLE, *COMPONENTS, node_user("n1"))
    lines = render_token_file({user: f"t-{user.kubeconfig}" for user in users}).splitlines()
    assert len(lines) == len(users)
    assert [line for line in lines if "system:masters" in line] == ['t-admin,admin,admin,"system:masters"']
    assert 't-alice,alice,alice,"team-a"' in lines
    assert ADMIN in PEOPLE


@pytest.mark.parametrize(
    "manifest", [*volumes.manifests(Path("/s")), *rbac.manifests()], ids=lambda m: m["metadata"]["name"]
)
def test_what_the_cluster_starts_with_is_valid_for_its_kubernetes(manifest: dict[str, object]) -> None:
    kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_every_volume_has_a_folder_of_its_own(tmp_path: Path) -> None:
    volumes.make_folders(tmp_path)
    paths = [m["spec"]["local"]["path"] for m in volumes.manifests(tmp_path) if m["kind"] == "PersistentVolume"]
    assert len(set(paths)) == volumes.COUNT
    assert all(Path(path).is_dir() for path in paths)


@pytest.mark.parametrize(("named", "folder"), programs.VERSIONS.items())
def test_the_go_modules_pin_what_is_built_and_its_replacements_agree(named: str, folder: str) -> None:
    source = programs.COREDNS.source.with_name(folder)
    text = (source / "go.mod").read_text()
    (version,) = set(re.findall(r"\sk8s\.io/kubernetes v1(\.\d+\.\d+)", text))
    replaced = re.findall(r"k8s\.io/\S+ => k8s\.io/\S+ v0(\.\d+\.\d+)", text)
    assert set(replaced) == {version}
    assert f"1{version}".startswith(f"{named}.")
    for module in (source, programs.COREDNS.source):
        assert (module / "go.sum").stat().st_size > 0


def test_a_version_of_kubernetes_that_is_not_pinned_is_refused_with_those_that_are() -> None:
    with pytest.raises(ClusterError, match=r"1\.37 and 1\.34"):
        programs.folder_of(programs.Module("1.30", "", ()))


def test_another_pin_is_built_into_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = programs.folder_of(programs.COREDNS)
    monkeypatch.setattr(programs, "GO_VERSION", "1.27")
    after = programs.folder_of(programs.COREDNS)
    assert before.parent == after.parent == tmp_path / "batchjob" / "programs"
    assert before != after


def test_mount_points_are_found_innermost_first_and_only_below_the_folder() -> None:
    found = mounts.below(Path("/proc"))
    assert Path("/proc") in found
    assert Path("/") not in found
    assert not mounts.below(Path("/pro"))
    assert found == sorted(found, reverse=True)


def test_a_program_that_fails_is_reported_with_the_end_of_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="ended with 3") as caught:
        run(["sh", "-c", "echo so it goes >&2; exit 3"])
    assert "so it goes" in str(caught.value)
    with pytest.raises(ClusterError, match=re.escape(str(tmp_path / "log"))):
        run(["false"], log=tmp_path / "log")


def test_a_stale_pid_file_does_not_point_at_somebody_elses_process(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    (tmp_path / "pids").mkdir()
    (tmp_path / "pids" / "etcd.pid").write_text("1")
    assert processes.pid("etcd") is None
    processes.stop(["etcd"])
    assert processes.names() == []


def test_a_started_program_is_known_by_its_pid_file_until_it_is_stopped(tmp_path: Path) -> None:
    program = tmp_path / next(iter(OURS))
    program.symlink_to("/bin/sleep")
    processes = Processes(tmp_path)
    # GNU sleep adds its arguments up, and refuses what is no number: the state folder stands in the program's path.
    processes.start("sleeper", [program, "60"])
    pid = processes.pid("sleeper")
    assert pid is not None
    assert Processes(tmp_path).pid("sleeper") == pid
    processes.stop(["sleeper"])
    assert processes.pid("sleeper") is None
    assert not Path(f"/proc/{pid}").exists()


def test_a_stray_is_ended_by_name_and_folder_and_its_neighbour_is_spared(tmp_path: Path) -> None:
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "etcd").symlink_to("/bin/sleep")
    ours, theirs = Processes(tmp_path / "ours"), Processes(tmp_path / "theirs")
    ours.start("a", [tmp_path / "ours" / "etcd", "60"])
    theirs.start("a", [tmp_path / "theirs" / "etcd", "60"])
    try:
        (tmp_path / "ours" / "pids" / "a.pid").unlink()
        ours.stop_strays()
        assert theirs.pid("a") is not None
        (stray,) = ours._children.values()
        assert stray.wait() != 0
    finally:
        theirs.stop(["a"])


def test_logs_outlive_the_cluster_and_nothing_else_does(tmp_path: Path) -> None:
    for name in ("logs/etcd.log", "etcd/member", "admin.kubeconfig"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    cleanup._empty(tmp_path)
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()] == ["logs/etcd.log"]


def test_the_nodes_addresses_do_not_overlap_with_the_services() -> None:
    cluster = IPv4Network(network.CLUSTER_CIDR)
    assert IPv4Network(network.POD_CIDR).subnet_of(cluster)
    assert IPv4Address(network.HOST_IP) in cluster
    assert not cluster.overlaps(IPv4Network(SERVICE_CIDR))
