"""Commands that ask the HTTP API: over a gateway on a real API server and a real store."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchjob.cli import execute
from tests.cluster.test_gateway_search import MINE, world
from tests.localcluster import ControlPlane
from tests.support.gateway_process import GatewayProcess
from tests.support.gateway_world import TEAM, World, key_of
from tests.support.manifests import inline, noop

__all__ = ["world"]  # the fixture

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def gateway(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    started = GatewayProcess(world, tmp_path_factory.mktemp("gateway"))
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture
def cli(
    gateway: GatewayProcess,
    control_plane: ControlPlane,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:
    key = tmp_path / "key"
    key.write_text(key_of("alice"))
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    monkeypatch.setenv("BATCHJOB_GATEWAY", f"http://127.0.0.1:{gateway.port}")
    monkeypatch.setenv("BATCHJOB_GATEWAY_TOKEN_FILE", str(key))

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = execute([*arguments, "-n", TEAM])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


@pytest.fixture
def job(world: World) -> str:
    """One of three items: two results, one dead letter."""
    name = "cli-contents"
    world.team("delete", "batchjob", name, "--ignore-not-found")
    world.team.apply(noop(name, inline(3), owner="alice"))
    asyncio.run(world.fill(world.team.get("batchjob", name)["metadata"]["uid"]))
    world.team(
        "patch", "batchjob", name, "--subresource=status", "--type=merge", "-p",
        '{"status": {"phase": "Failed", "counts": {"total": 3, "succeeded": 2, "failed": 1}}}',
    )  # fmt: skip
    return name


def test_items_of_a_file_are_submitted_over_the_http_api(cli: Cli, world: World, tmp_path: Path) -> None:
    manifest, items = tmp_path / "job.yaml", tmp_path / "items.jsonl"
    body = noop("cli-items", inline(1))
    del body["spec"]["source"]
    body["metadata"]["labels"] = {"team": "x"}
    manifest.write_text(json.dumps(body))
    items.write_text('{"id": "a", "data": {"n": 1}}\n\n{"id": "b", "data": {"n": 2}}\n')
    submit = ("submit", "-f", str(manifest), "--items", str(items))
    assert cli(*submit, "-o", "name")[:2] == (0, "batchjob.batchjob.dev/cli-items\n")
    made = world.team.get("batchjob", "cli-items")
    assert made["spec"]["source"]["items"] == [{"id": "a", "data": {"n": 1}}, {"id": "b", "data": {"n": 2}}]
    assert (made["spec"]["owner"], made["metadata"]["labels"]["team"]) == ("alice", "x")
    assert "The name cli-items is taken" in cli(*submit)[2]
    items.write_text('{"id": "a", "data": {}}\n{"id": ')
    assert f"{items}:2 is no JSON" in cli(*submit, "--name", "cli-other")[2]
    items.write_text("\n")
    assert f"{items} has no items" in cli(*submit, "--name", "cli-other")[2]
    assert "leave one out" in cli(*submit, "--dry-run")[2]
    manifest.write_text(json.dumps(noop("cli-items", inline(1))))
    assert "take spec.source out" in cli(*submit)[2]
    assert not world.team.exists("batchjob", "cli-other")


def test_what_is_in_a_batchjob_is_shown_and_downloaded(cli: Cli, job: str, tmp_path: Path) -> None:
    code, out, _ = cli("items", job)
    headers, line = (line.split() for line in out.splitlines())
    assert (code, headers) == (0, ["POSITION", "ITEM", "ATTEMPTS", "CLASS", "MESSAGE"])
    assert (line[:2], line[3:]) == (["1", "i1"], ["timeout", "it", "took", "too", "long"])
    [one] = json.loads(cli("items", job, "-o", "json")[1])
    assert (one["id"], one["errorClass"]) == ("i1", "timeout")
    assert [
        json.loads(line)["id"] for line in cli("items", job, "--status", "succeeded", "-o", "jsonl")[1].splitlines()
    ] == [
        "i0",
        "i2",
    ]
    assert cli("errors", job)[1].splitlines()[1].split()[:2] == ["1", "timeout"]
    _, out, _ = cli("results", "download", job)
    results: list[Any] = [{"id": "i0", "result": {"length": 10}}, {"id": "i2", "result": {"length": 12}}]
    assert [json.loads(line) for line in out.splitlines()] == results
    file = tmp_path / "results.jsonl"
    assert cli("results", "download", job, "--to", str(file))[0] == 0
    assert [json.loads(line) for line in file.read_text().splitlines()] == results
    assert "is there already: name another file" in cli("results", "download", job, "--to", str(file))[2]
    code, out, err = cli("errors", "never-made")
    assert (code, out) == (1, "")
    assert "There is no such BatchJob, or it is not yours. See what there is with: batchjob ls" in err


def test_a_query_finds_what_the_api_finds(cli: Cli) -> None:
    code, out, _ = cli("ls", "type:export", MINE)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["job-3", "job-1", "job-0"]
    assert cli("ls", MINE, "status:running", "-o", "name")[1] == "batchjob.batchjob.dev/job-1\n"
    assert cli("ls", "name:none-of-them")[2] == f"No BatchJobs found by name:none-of-them namespace:{TEAM}\n"


def test_without_its_pods_there_is_a_way_out(cli: Cli, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHJOB_GATEWAY")
    code, _, err = cli("errors", job, "--system-namespace", TEAM)
    assert code == 1
    assert f"no pod of the gateway is ready in the namespace {TEAM}" in err
    assert "--gateway takes its URL" in err
