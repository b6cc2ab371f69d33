"""The processors that ship, through a real worker, the store and the neighbours: each effect once, errors by class."""

import csv
import hashlib
import io
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.items import Before, RunState
from batchjob.core.snapshot import Snapshot
from batchjob.errors import ConfigurationError
from batchjob.files import addresses
from batchjob.worker.processor import make_processor, processor_name
from tests.support import manifests
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers, ended

QUICK = {"retry": {"backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}}
S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def at(neighbours: Neighbours, manifest: dict[str, Any]) -> dict[str, Any]:
    """The spec of a manifest that names the neighbours by service, as seen from this machine."""
    text = json.dumps(manifest["spec"])
    for service, name in (("8000", "chat"), ("9000", "s3")):
        text = text.replace(f"http://neighbours:{service}", f"http://127.0.0.1:{neighbours.ports[name]}")
    found: dict[str, Any] = json.loads(text)
    return found


async def work(workers: Workers, run: Run, name: str = "w") -> Snapshot:
    """One worker until the end; returns what became of the run."""
    assert await workers.work(run, make_processor(processor_name(run)), name=name) == EXIT_CLOSED
    return await workers.snapshot(run)


def answers(neighbours: Neighbours, run: Run) -> Counter[str]:
    """Answers by item. Of this run alone: an answer that a fault delays may outlast the test that asked for it."""
    items = [row["item"] for row in neighbours.ledger("chat") if row["status"] == 200]
    mine = f"{run.uid}:"
    return Counter(item.removeprefix(mine) for item in items if item.startswith(mine))


# ---- ai-batch


async def test_a_model_is_asked_once_about_each_item_and_its_answer_joins_the_items_data(
    workers: Workers, neighbours: Neighbours
) -> None:
    run = await workers.open(at(neighbours, manifests.ai_batch("a", manifests.inline(30, stars=4))))
    found = await work(workers, run)
    assert (found.state, found.counts.succeeded) == (RunState.CLOSED, 30)
    assert answers(neighbours, run) == Counter({f"i{n}": 1 for n in range(30)})
    assert found.usage["promptTokens"] > 0
    assert found.usage["completionTokens"] > 0
    results = {r.id: json.loads(r.result) async for r in workers.store.results(run.uid)}
    assert results["i3"]["text"] == "sentence 3"
    assert results["i3"]["stars"] == 4
    assert results["i3"]["sentiment"] in {"positive", "neutral", "negative"}


async def test_an_item_may_have_any_id(workers: Workers, neighbours: Neighbours) -> None:
    ids = ["Müller", "two\nlines", " 名前 ", "50%25 off", "plain/id_1@x.y:z=~"]
    source = {"items": [{"id": name, "data": {"text": "fine"}} for name in ids]}
    run = await workers.open(at(neighbours, manifests.ai_batch("a", source, retry={"maxAttempts": 1})))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (5, 0)
    assert answers(neighbours, run) == Counter(dict.fromkeys(ids, 1))


async def test_an_endpoint_that_fails_twice_costs_attempts_and_not_the_item(
    workers: Workers, neighbours: Neighbours
) -> None:
    rules = [
        {"match": "sentence 1", "action": "status", "status": 503, "times": 2},
        {"match": "sentence 2", "action": "invalid_json", "times": 1},
        {"match": "sentence 3", "action": "disconnect", "times": 1},
        {"match": "sentence 4", "action": "wrong_answer", "times": 2},
    ]
    neighbours.set_faults("chat", rules)
    run = await workers.open(at(neighbours, manifests.ai_batch("a", manifests.inline(6), **QUICK)))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (6, 0)


async def test_a_rate_limit_costs_no_attempt_and_its_wait_is_kept(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("chat", [{"action": "status", "status": 429, "retry_after": 1, "times": 3}])
    run = await workers.open(at(neighbours, manifests.ai_batch("a", manifests.inline(1), retry={"maxAttempts": 1})))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (1, 0)
    times = [row["time"] for row in neighbours.ledger("chat") if row["item"].startswith(run.uid)]
    assert len(times) == 4
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("rule", "error_class", "said", "asked", "seconds"),
    [
        ({"action": "status", "status": 500}, "upstream", "answered 500", 2, 60),
        ({"action": "status", "status": 401}, "permission", "spec.aiBatch.model.apiKeySecretRef", 1, 60),
        ({"action": "status", "status": 400}, "invalid-input", "answered 400", 1, 60),
        (
            {"action": "status", "status": 404},
            "invalid-input",
            "check spec.aiBatch.model.baseUrl and spec.aiBatch.model.name",
            1,
            60,
        ),
        ({"action": "status", "status": 429}, "rate-limited", "answered 429", 2, 60),
        ({"action": "wrong_answer"}, "invalid-answer", "does not fill the form", 1, 60),
        ({"action": "delay", "delay_seconds": 3}, "timeout", "did not answer in time", 2, 1),
    ],
)
async def test_an_item_that_always_fails_is_a_dead_letter_with_its_class(
    workers: Workers,
    neighbours: Neighbours,
    rule: dict[str, Any],
    error_class: str,
    said: str,
    asked: int,
    seconds: int,
) -> None:
    neighbours.set_faults("chat", [rule])
    limits = {"retry": {"maxAttempts": 2, "backoff": {"initialDelaySeconds": 0}}, "itemTimeoutSeconds": seconds}
    run = await workers.open(at(neighbours, manifests.ai_batch("a", manifests.inline(1), **limits)))
    found = await work(workers, run)
    assert found.counts.failed == 1
    [error] = found.last_errors
    assert error.error_class == error_class
    assert said in error.message
    [letter] = await workers.store.dead_letters(run.uid, 10)
    assert letter.attempts == asked


async def test_an_endpoint_that_is_not_there_is_named(workers: Workers) -> None:
    manifest = manifests.ai_batch("a", manifests.inline(1), retry={"maxAttempts": 1})
    manifest["spec"]["aiBatch"]["model"]["baseUrl"] = "http://127.0.0.1:1/v1"
    found = await work(workers, await workers.open(manifest["spec"]))
    assert found.last_errors[0].error_class == "upstream"
    said = "spec.aiBatch.model.baseUrl: http://127.0.0.1:1/v1 cannot be reached: nothing answers there"
    assert found.last_errors[0].message.startswith(said)


async def test_the_instructions_are_a_template_over_the_item(workers: Workers, neighbours: Neighbours) -> None:
    manifest = manifests.ai_batch("a", manifests.inline(2), **QUICK)
    manifest["spec"]["aiBatch"]["instructions"] = "Speak {{ language }}."
    manifest["spec"]["source"]["items"][0]["data"]["language"] = "French"
    found = await work(workers, await workers.open(at(neighbours, manifest)))
    assert (found.counts.succeeded, found.counts.failed) == (1, 1)
    assert (found.last_errors[0].item_id, found.last_errors[0].error_class) == ("i1", "invalid-input")


async def test_a_template_that_is_none_ends_the_worker_as_misconfigured(workers: Workers) -> None:
    manifest = manifests.ai_batch("a", manifests.inline(1))
    manifest["spec"]["aiBatch"]["instructions"] = "{% for %}"
    run = await workers.open(manifest["spec"])
    with pytest.raises(ConfigurationError, match=r"spec.aiBatch.instructions is not a template"):
        await workers.work(run, make_processor("ai-batch"))


# ---- addresses


@pytest.mark.parametrize("host", ["169.254.169.254", "innocent.example"])
@pytest.mark.parametrize(
    ("kind", "field"), [("ai-batch", "spec.aiBatch.model.baseUrl"), ("email", "spec.email.smtp.host")]
)
async def test_a_host_at_the_metadata_service_ends_the_worker_as_misconfigured(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, kind: str, field: str, host: str
) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        del port
        return ["169.254.169.254"] if name == host else []

    monkeypatch.setattr(addresses, "resolve", resolve)
    build = {"ai-batch": manifests.ai_batch, "email": manifests.email}[kind]
    spec = build("m", manifests.inline(1), itemTimeoutSeconds=1, retry={"maxAttempts": 1})["spec"]
    run = await workers.open(json.loads(json.dumps(spec).replace("neighbours", host)))
    with pytest.raises(ConfigurationError, match=f"{field}: {host} is (the|a) link-local address"):
        await workers.work(run, make_processor(kind))


# ---- export


def exported(neighbours: Neighbours, run: Run) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The manifest, and the rows of the parts it lists, each checked against its checksum."""
    folder = f"exports/{run.folder}"
    manifest = json.loads(neighbours.get_object("batchjob", f"{folder}/manifest.json"))
    rows: list[dict[str, str]] = []
    for part in manifest["parts"]:
        body = neighbours.get_object("batchjob", f"{folder}/{part['name']}")
        assert (len(body), hashlib.sha256(body).hexdigest()) == (part["bytes"], part["sha256"])
        found = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
        assert len(found) == part["rows"]
        rows += found
    return manifest, rows


async def test_an_export_is_parts_and_a_manifest_that_vouches_for_them(
    workers: Workers, neighbours: Neighbours
) -> None:
    run = await workers.open(at(neighbours, manifests.export("e", manifests.inline(250, formula="=1+1"))))
    workers.reference(run, "destination-credentials", **S3_KEYS)
    neighbours.put_object("batchjob", f"exports/{run.folder}/part-000000000007.csv", b"of a worker that was lost")
    found = await work(workers, run)
    manifest, rows = exported(neighbours, run)
    assert [part["name"].rsplit("-", 1)[0] for part in manifest["parts"]] == [f"part-{n:012d}" for n in (0, 100, 200)]
    assert (manifest["rows"], manifest["uid"]) == (250, run.uid)
    assert [row["id"] for row in rows] == [f"i{n}" for n in range(250)]
    assert rows[7] == {"id": "i7", "text": "sentence 7", "formula": "'=1+1"}
    assert found.usage == {"rowsExported": 250, "bytesWritten": manifest["bytes"]}
    assert found.results_uri == f"s3://batchjob/exports/{run.folder}/manifest.json"
    body = neighbours.get_object("batchjob", f"exports/{run.folder}/manifest.json")
    assert found.manifest_sha256 == hashlib.sha256(body).hexdigest()
    kept = neighbours.list_objects("batchjob", f"exports/{run.folder}")
    assert len(kept) == 4, "nothing but the parts and the manifest"


async def test_an_export_to_a_claim_appears_whole_and_leaves_no_temporary_file(
    workers: Workers, tmp_path: Path
) -> None:
    claim = tmp_path / "claim"
    claim.mkdir()
    manifest = manifests.export("e", manifests.inline(5, n=1))
    manifest["spec"]["export"] = {
        "format": "jsonl",
        "columns": [{"name": "n", "header": "number"}, {"name": "id"}, {"name": "nmae"}],
        "destination": {"url": f"file://{claim}/out"},
        "rowsPerFile": 3,
    }
    manifest["spec"]["worker"] = {"volumes": [{"claimName": "data", "mountPath": str(claim)}]}
    run = await workers.open(manifest["spec"])
    folder = claim / "out" / run.folder
    folder.mkdir(parents=True)
    (folder / "part-000000000003.jsonl.dead-pod.unfinished").write_bytes(b"half")
    await work(workers, run)
    written = json.loads((folder / "manifest.json").read_text())
    assert written["emptyColumns"] == ["nmae"]
    listed = [part["name"] for part in written["parts"]]
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", *listed]
    assert [name[:17] for name in listed] == ["part-000000000000", "part-000000000003"]
    assert (folder / listed[1]).read_text() == (
        '{"number": 1, "id": "i3", "nmae": null}\n{"number": 1, "id": "i4", "nmae": null}\n'
    )


async def test_a_part_has_as_many_rows_as_were_asked_for(workers: Workers, neighbours: Neighbours) -> None:
    lines = "".join(f'{{"id": "i{n}"}}\n' for n in range(2500))
    manifest = manifests.export("e", {"configMapRef": {"name": "rows", "key": "rows.jsonl"}}, parallelism=4)
    manifest["spec"]["export"]["rowsPerFile"] = 2000
    run = await workers.open(at(neighbours, manifest))
    workers.reference(run, "destination-credentials", **S3_KEYS)
    workers.reference(run, "source", rows__jsonl=lines)
    await work(workers, run)
    listed, rows = exported(neighbours, run)
    assert [part["rows"] for part in listed["parts"]] == [2000, 500]
    assert [row["id"] for row in rows] == [f"i{n}" for n in range(2500)]


async def test_an_export_survives_a_killed_worker_with_each_row_once(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("s3", [{"match": "PUT", "action": "delay", "delay_seconds": 0.1}])
    manifest = manifests.export("e", manifests.inline(200), parallelism=2)
    manifest["spec"]["export"]["rowsPerFile"] = 5
    run = await workers.open(at(neighbours, manifest), lease_ms=1500)
    workers.reference(run, "destination-credentials", **S3_KEYS)
    short = {"BATCHJOB_LEASE_SECONDS": "1.5"}
    with workers.process(run, "victim", **short) as victim:
        await workers.wait(run, lambda s: s.counts.succeeded >= 20, "some parts to be written")
        victim.kill()
    with workers.process(run, "heir", **short) as heir:
        assert await ended(heir) == EXIT_CLOSED
    _, rows = exported(neighbours, run)
    assert Counter(row["id"] for row in rows) == Counter({f"i{n}": 1 for n in range(200)})


async def test_a_destination_that_refuses_is_tried_again_and_then_named(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.set_faults("s3", [{"match": "PUT batchjob/exports/.*part", "action": "status", "status": 403}])
    run = await workers.open(at(neighbours, manifests.export("e", manifests.inline(3), **QUICK)))
    workers.reference(run, "destination-credentials", **S3_KEYS)
    found = await work(workers, run)
    assert (found.counts.failed, found.last_errors[0].error_class) == (3, "upstream")
    assert f"s3://batchjob/exports/{run.folder}/part-" in found.last_errors[0].message
    assert "credentialsSecretRef" in found.last_errors[0].message


# ---- results.destination


@pytest.mark.parametrize("kind", ["ai-batch", "export"])
async def test_a_destination_that_does_not_exist_ends_the_run_before_any_item(
    workers: Workers, neighbours: Neighbours, kind: str
) -> None:
    nowhere = manifests.destination("out") | {"url": "s3://absent/out"}
    build, block = {"ai-batch": (manifests.ai_batch, "results"), "export": (manifests.export, "export")}[kind]
    manifest = build("a", manifests.inline(2), retry={"maxAttempts": 1})
    manifest["spec"].setdefault(block, {})["destination"] = nowhere
    run = await workers.open(at(neighbours, manifest))
    for purpose in ("results-credentials", "destination-credentials"):
        workers.reference(run, purpose, **S3_KEYS)
    found = await work(workers, run)
    assert (found.state, found.reason, found.counts.succeeded) == (RunState.FAILED, "ResultsFailed", 0)
    assert (found.message or "").startswith(f"spec.{block}.destination: s3://absent/out/{run.folder}/ at ")
    assert "does not exist (404 NoSuchBucket: The specified bucket does not exist)" in (found.message or "")
    assert answers(neighbours, run) == Counter()


async def test_a_destination_that_does_not_answer_at_the_start_may_be_back_at_the_end(
    workers: Workers, neighbours: Neighbours
) -> None:
    # One look is three requests: the library bridges hiccups.
    neighbours.set_faults("s3", [{"match": "GET batchjob", "action": "status", "status": 503, "times": 3}])
    manifest = manifests.ai_batch("a", manifests.inline(2), results={"destination": manifests.destination("results")})
    run = await workers.open(at(neighbours, manifest))
    workers.reference(run, "results-credentials", **S3_KEYS)
    found = await work(workers, run)
    assert (found.state, found.counts.succeeded) == (RunState.CLOSED, 2)
    assert [rule["hits"] for rule in neighbours.faults()["s3"]] == [3]


async def test_results_go_to_their_destination_as_lines_with_a_manifest(
    workers: Workers, neighbours: Neighbours
) -> None:
    manifest = manifests.ai_batch("a", manifests.inline(12), results={"destination": manifests.destination("results")})
    run = await workers.open(at(neighbours, manifest))
    workers.reference(run, "results-credentials", **S3_KEYS)
    found = await work(workers, run)
    folder = f"results/{run.folder}"
    assert found.results_uri == f"s3://batchjob/{folder}/manifest.json"
    listed = json.loads(neighbours.get_object("batchjob", f"{folder}/manifest.json"))
    [part] = listed["parts"]
    assert (listed["rows"], part["positions"], part["name"][:12]) == (12, "0-11", "part-000000-")
    body = neighbours.get_object("batchjob", f"{folder}/{part['name']}")
    assert hashlib.sha256(body).hexdigest() == part["sha256"]
    lines = body.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"i{n}" for n in range(12)]


async def test_results_in_a_bucket_are_read_by_another_run_and_found_again_when_the_store_is_lost(
    workers: Workers, neighbours: Neighbours, redis: Redis
) -> None:
    manifest = at(
        neighbours,
        manifests.ai_batch("a", manifests.inline(4), results={"destination": manifests.destination("results")}),
    )
    run = await workers.open(manifest)
    workers.reference(run, "results-credentials", **S3_KEYS)
    await work(workers, run)
    reader = manifests.ai_batch("b", {"resultsOf": {"batchJobName": "a"}})
    child = await workers.open(at(neighbours, reader), parent=run)
    workers.reference(child, "source-credentials", **S3_KEYS)
    assert (await work(workers, child)).counts.succeeded == 4
    await redis.flushall()
    await workers.store.load_scripts()
    again = await workers.open(manifest, again=(run, Before(repeats=4)))
    found = await work(workers, again)
    assert (found.state, found.counts.succeeded, found.counts.retried_after_loss) == (RunState.CLOSED, 4, 0)
    assert answers(neighbours, run) == Counter({f"i{n}": 1 for n in range(4)}), "none was asked about again"


async def test_a_destination_that_is_away_when_all_is_done_is_waited_for(
    workers: Workers, neighbours: Neighbours
) -> None:
    away = {"match": r"^PUT .*manifest", "action": "status", "status": 503, "times": 9}  # three tries of three requests
    neighbours.set_faults("s3", [away])
    run = await workers.open(at(neighbours, manifests.export("e", manifests.inline(3), **QUICK)))
    workers.reference(run, "destination-credentials", **S3_KEYS)
    assert run.effective.max_attempts == 2
    found = await work(workers, run)
    assert (found.state, found.counts.succeeded) == (RunState.CLOSED, 3)
    assert [rule["hits"] for rule in neighbours.faults()["s3"]] == [9]


async def test_results_that_cannot_be_written_fail_the_run_with_the_way_out(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.set_faults("s3", [{"match": "PUT batchjob/results", "action": "status", "status": 403}])
    manifest = manifests.ai_batch(
        "a", manifests.inline(2), results={"destination": manifests.destination("results")}, **QUICK
    )
    run = await workers.open(at(neighbours, manifest))
    workers.reference(run, "results-credentials", **S3_KEYS)
    found = await work(workers, run)
    assert (found.state, found.reason) == (RunState.FAILED, "ResultsFailed")
    assert f"s3://batchjob/results/{run.folder}/part-000000-" in (found.message or "")
    assert "credentialsSecretRef" in (found.message or "")
    assert found.counts.succeeded == 2


async def test_a_sealer_that_is_killed_is_taken_over(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("s3", [{"match": "PUT", "action": "delay", "delay_seconds": 30, "times": 1}])
    manifest = manifests.ai_batch("a", manifests.inline(2), results={"destination": manifests.destination("results")})
    run = await workers.open(at(neighbours, manifest), lease_ms=1500)
    workers.reference(run, "results-credentials", **S3_KEYS)
    with workers.process(run, "first", BATCHJOB_LEASE_SECONDS="1.5") as first:
        await workers.wait(run, lambda s: s.state is RunState.SEALING, "the seal to begin")
        first.kill()
    neighbours.clear_faults()  # whose delay is of each object's first PUT
    assert (await work(workers, run, "heir")).state is RunState.CLOSED
