"""`batchjob run`: the same store, workers and processors without a cluster, as a user types it."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.support.local_runs import Place, custom, until
from tests.support.manifests import ai_batch, inline
from tests.support.neighbours.client import Neighbours
from tests.support.redis_server import RedisServer

REPOSITORY = Path(__file__).parents[2]
MINE = ("--processors", "mine")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


def test_the_first_command_of_the_readme_gives_what_the_how_to_shows(place: Place) -> None:
    how_to = (REPOSITORY / "docs" / "how-to" / "run-without-a-cluster.md").read_text()
    command, shown = re.findall(r"^```(?:sh)?\n(.*?)^```", how_to, re.DOTALL | re.MULTILINE)[:2]
    [line] = [line for line in command.splitlines() if line.startswith("batchjob ")]
    assert line in (REPOSITORY / "README.md").read_text()
    (place.folder / "examples").symlink_to(REPOSITORY / "examples")
    done = place.type(*line.split())
    assert done.returncode == 1, done.stderr
    for said, expected in ((done.stderr, shown.splitlines()[:1]), (done.stdout, shown.splitlines()[2:])):
        assert [words for words in expected if words not in said.splitlines()] == []
    assert [line["id"] for line in place.lines("results.jsonl", "fingerprint-results")] == ["moon", "sun"]


def test_two_workers_share_the_items_and_results_keep_the_order_of_the_source(place: Place) -> None:
    place.write(custom(*({} for _ in range(20)), parallelism=2))
    done = place.run(*MINE, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert place.lines("results.jsonl") == [{"id": f"i{n}", "result": {"length": n}} for n in range(20)]
    assert place.lines("dead-letters.jsonl") == []
    assert "tell: 20 of 20 succeeded in " in done.stdout
    assert "used: characters 190" in done.stdout


def test_failed_items_are_told_by_class_and_a_redrive_mends_what_can_be_mended(place: Place) -> None:
    place.write(custom({}, {"do": "fail until mended"}, {}, {"do": "fail"}))
    failed = place.run(*MINE)
    assert failed.returncode == 1, failed.stderr
    assert "2 of 4 succeeded, 2 failed" in failed.stdout
    assert "2  invalid-input  i1: told to fail" in failed.stdout
    letters = [(letter["id"], letter["errorClass"], letter["data"]) for letter in place.lines("dead-letters.jsonl")]
    assert letters == [
        ("i1", "invalid-input", {"text": "x", "do": "fail until mended"}),
        ("i3", "invalid-input", {"text": "xxx", "do": "fail"}),
    ]

    place.write(custom({}))  # what the source holds now does not count
    mended = place.run(*MINE, "--redrive", environment={"MENDED": "1"})
    assert (mended.returncode, "1 of 2 succeeded, 1 failed" in mended.stdout) == (1, True), mended.stderr
    assert [line["id"] for line in place.lines("results.jsonl")] == ["i0", "i2", "i1"]
    assert [letter["id"] for letter in place.lines("dead-letters.jsonl")] == ["i3"]


def test_ctrl_c_writes_what_is_done_and_a_stopped_redrive_loses_no_letter(place: Place) -> None:
    place.write(custom({}, {"do": "wait"}, concurrency=2))
    with place.begin(*MINE) as process:
        until(process.stderr, "tell: 1/2")
        process.send_signal(signal.SIGINT)
        until(process.stderr, "stopping")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert (process.returncode, "1 of 2 succeeded, 1 not done" in out) == (130, True)
    assert [line["id"] for line in place.lines("results.jsonl")] == ["i0"]
    (left,) = place.lines("dead-letters.jsonl")
    assert (left["id"], left["errorClass"], left["attempts"]) == ("i1", "not-done", 0)

    letter = '{"id":"%s","errorClass":"internal","message":"","attempts":1,"data":{"text":"","do":"%s"}}\n'
    letters = letter % ("a", "fine") + letter % ("b", "wait")
    (place.folder / "tell-results" / "dead-letters.jsonl").write_text(letters)
    with place.begin(*MINE, "--redrive") as process:
        until(process.stderr, "tell: 1/2")
        process.send_signal(signal.SIGTERM)
        until(process.stderr, "stopping")
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    assert [line["id"] for line in place.lines("results.jsonl")] == ["i0", "a"]
    assert [line["id"] for line in place.lines("dead-letters.jsonl")] == ["b"]


FAILING = [{"do": "fail"}] * 5 + [{"do": "rest"}] * 60
POLICIES: list[tuple[str, dict[str, Any], int, str]] = [
    ("too many failures", {"failurePolicy": {"maxFailedPercent": 50, "minItems": 3}}, 1, "FailureThreshold: "),
    ("the deadline", {"activeDeadlineSeconds": 1}, 1, "DeadlineExceeded: "),
    ("enough successes", {"successPolicy": {"minSucceededPercent": 90}, "concurrency": 20}, 0, "5 failed"),
]


@pytest.mark.parametrize(("spec", "code", "said"), [case[1:] for case in POLICIES], ids=[case[0] for case in POLICIES])
def test_a_run_heeds_its_policies(place: Place, spec: dict[str, Any], code: int, said: str) -> None:
    place.write(custom(*FAILING, **{"concurrency": 1} | spec))
    done = place.run(*MINE)
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr


def test_a_kill_of_the_command_takes_server_workers_and_secrets_along(place: Place) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "members"}, "stringData": {"items": '{"id": "i0", "do": "wait"}'}}
    place.write(custom(source={"secretRef": {"name": "members", "key": "items"}}), secret)
    with place.begin(*MINE) as process:
        until(process.stderr, "looking at i0")
        assert len(place.processes()) >= 3
        assert list(place.temporary.glob("batchjob-*/references/source/items"))
        process.kill()
        process.wait()
    assert place.processes() == []


def test_an_item_that_crashes_its_worker_is_given_up_and_its_neighbours_finish(place: Place) -> None:
    place.write(custom({}, {"do": "crash"}, {}, retry={"maxLosses": 1}, concurrency=1))
    done = place.run(*MINE)
    assert done.returncode == 1, done.stderr
    assert "a worker was lost: it was ended by SIGABRT" in done.stderr
    assert [letter["errorClass"] for letter in place.lines("dead-letters.jsonl")] == ["infrastructure"]
    assert [line["id"] for line in place.lines("results.jsonl")] == ["i0", "i2"]


def test_a_processor_that_refuses_its_parameters_is_bad_input(place: Place) -> None:
    place.write(custom({}, custom={"processor": "tell-length", "params": {"refuse": ""}}))
    done = place.run(*MINE)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.endswith("batchjob run: spec.custom.params.refuse: it is refused\n")
    assert done.stderr.count("refused") == 1


def test_a_line_of_the_source_that_is_wrong_is_bad_input(place: Place) -> None:
    (place.folder / "items.jsonl").write_text('{"id": "a"}\n{"id": "a"}\n')
    place.write(custom(source={"uri": {"url": "items.jsonl"}}))
    done = place.run(*MINE)
    assert done.returncode == 64, done.stderr
    assert "line 2: id 'a' is already used by line 1" in done.stdout
    assert "line 2" not in done.stderr  # it is said once
    assert not (place.folder / "tell-results").exists()


async def test_files_beside_the_manifest_and_a_store_that_runs_is_left_empty(
    place: Place, redis: Redis, redis_server: RedisServer
) -> None:
    (place.folder / "items.csv").write_text("id,text\na,one\nb,two\n")
    job = custom(source={"uri": {"url": "items.csv", "format": "csv"}})
    export = {"format": "csv", "destination": {"url": "out"}}
    job["spec"] = {"type": "export", "export": export, "source": job["spec"]["source"]}
    place.write(job)
    done = place.run("--store", redis_server.url)
    assert done.returncode == 0, done.stderr
    (part,) = (place.folder / "out").glob("tell-*/part-*.csv")
    assert part.read_text().split() == ["id,text", "a,one", "b,two"]
    assert f"results: {part.with_name('manifest.json').as_uri()}" in done.stdout
    assert not (place.folder / "tell-results" / "results.jsonl").exists()
    assert await redis.keys("*") == []


def test_a_store_of_ones_own_that_is_restarted_costs_no_item(place: Place, tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--appendfsync", "always").start()
    try:
        place.write(custom(*({"do": "rest"} for _ in range(40)), concurrency=2))
        with place.begin(*MINE, "--store", server.url) as process:
            until(process.stderr, "looking at i4")
            server.kill()
            until(process.stderr, "tell: waiting for the store")
            server.start()
            _, err = process.communicate()
        assert process.returncode == 0, err
        assert [line["id"] for line in place.lines("results.jsonl")] == [f"i{n}" for n in range(40)]
    finally:
        server.kill()


def test_a_key_of_a_secret_may_come_from_the_environment(place: Place, neighbours: Neighbours) -> None:
    job = ai_batch("annotate", inline(3))
    model = {"baseUrl": f"http://127.0.0.1:{neighbours.ports['chat']}/v1", "name": "stand-in"}
    job["spec"]["aiBatch"]["model"] = {**model, "apiKeySecretRef": {"name": "model", "key": "CHAT_KEY"}}
    place.write(job)
    refused = place.run()
    assert refused.returncode == 64
    assert "spec.aiBatch.model.apiKeySecretRef" in refused.stderr
    done = place.run(environment={"CHAT_KEY": "sk-local"})
    assert done.returncode == 0, done.stderr
    assert neighbours.summary("chat")["distinct_items"] == 3
    assert {line["result"]["sentiment"] for line in place.lines("results.jsonl", "annotate-results")}


def test_a_terminal_shows_a_bar_and_the_lines_of_processors_above_it(place: Place) -> None:
    place.write(custom({}, {"do": "fail"}))
    shown = place.run_in_terminal(*MINE)
    assert "━" in shown
    assert "looking at i1\r\n" in shown
    assert "1 of 2 succeeded, 1 failed" in shown
