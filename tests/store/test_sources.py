"""Sources read by a real worker: what arrives, and what is said when nothing does."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.items import RunState
from batchjob.errors import LeaseLost
from batchjob.store.keys import run_key
from batchjob.worker import Context, ErrorClass, Fail, Item, Processor, load
from batchjob.worker.sources import https, opening
from tests.support.neighbours.client import Neighbours
from tests.support.store_runs import Runs
from tests.support.workers import Workers

LINES = b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
READ = {"a": {"id": "a", "text": "one"}, "b": {"id": "b", "text": "two"}}
ONE_TRY = {"retry": {"maxAttempts": 1}}
ONE_TRY_NO_WAIT = {"retry": {"maxAttempts": 1, "backoff": {"initialDelaySeconds": 0}}}
S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class Echo(Processor):
    """The result of an item is its data."""

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        del context
        return item.data


def spec(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "custom", "source": source, "custom": {"processor": "noop"}, **fields}


async def results(workers: Workers, run: Run) -> dict[str, Any]:
    return {found.id: json.loads(found.result) async for found in workers.store.results(run.uid)}


async def read(workers: Workers, run: Run) -> dict[str, Any]:
    assert await workers.work(run, Echo()) == EXIT_CLOSED
    return await results(workers, run)


async def refused(workers: Workers, run: Run, reason: str) -> str:
    """What is said about a source that ends the run."""
    assert await workers.work(run, Echo()) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.state, found.reason) == (RunState.FAILED, reason)
    return found.message or ""


async def test_inline_items_carry_flat_or_nested_data(workers: Workers) -> None:
    items = [{"id": "flat", "data": {"n": 1}}, {"id": "nested", "json": '{"a": {"b": [1.5]}}'}]
    run = await workers.open(spec({"items": items}))
    assert await read(workers, run) == {"flat": {"n": 1}, "nested": {"a": {"b": [1.5]}}}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [{"id": "a", "data": {}}, {"id": "a", "data": {}}],
            "spec.source.items: item 1: id 'a' is already used by item 0",
        ),
        ([{"id": "a", "json": "{"}], "spec.source.items: items[0].json: not JSON"),
        ([{"id": "a", "json": "[1]"}], "spec.source.items: items[0].json: not a JSON object but an array"),
    ],
)
async def test_wrong_inline_items_are_named(workers: Workers, items: list[Any], message: str) -> None:
    run = await workers.open(spec({"items": items}))
    assert message in await refused(workers, run, "InvalidSource")


async def test_a_config_map_is_read_from_where_it_is_mounted(workers: Workers) -> None:
    run = await workers.open(spec({"configMapRef": {"name": "words", "key": "w.csv", "format": "csv"}}))
    workers.reference(run, "source", w__csv="id,text\r\na,one\r\nb,two\r\n")
    assert await read(workers, run) == READ


async def test_a_secret_is_read_from_where_it_is_mounted_and_named_where_it_is_wrong(workers: Workers) -> None:
    run = await workers.open(spec({"secretRef": {"name": "members", "key": "m.jsonl"}}))
    workers.reference(run, "source", m__jsonl=LINES.decode())
    assert await read(workers, run) == READ
    run = await workers.open(spec({"secretRef": {"name": "members", "key": "m.jsonl"}}))
    workers.reference(run, "source", m__jsonl="secret words")
    message = await refused(workers, run, "InvalidSource")
    assert message.startswith("spec.source.secretRef: Secret members, key m.jsonl: line 1: not JSON")
    assert "secret words" not in message


async def test_a_wrong_line_fails_the_run_before_anything_starts(workers: Workers) -> None:
    run = await workers.open(spec({"configMapRef": {"name": "words", "key": "w.jsonl"}}))
    lines = [json.dumps({"id": f"i{n}"}) for n in range(5000)]
    lines[4321] = '{"id": "broken"'
    workers.reference(run, "source", w__jsonl="\n".join(lines))
    message = await refused(workers, run, "InvalidSource")
    assert message.startswith("spec.source.configMapRef: ConfigMap words, key w.jsonl: line 4322: not JSON")
    assert (await workers.snapshot(run)).counts.succeeded == 0


async def test_bad_records_are_counted_and_named_where_the_spec_says_that_they_may_be_left_out(
    workers: Workers,
) -> None:
    run = await workers.open(spec({"configMapRef": {"name": "words", "key": "w.jsonl"}, "onBadItem": "skip"}))
    workers.reference(run, "source", w__jsonl=LINES.decode() + '{"id": "a"}\n{"text": "Grüße"}\nnonsense\n')
    assert await read(workers, run) == READ
    found = await workers.snapshot(run)
    assert (found.counts.total, found.counts.succeeded, found.bad_items) == (2, 2, 3)
    assert [message.partition(":")[0] for message in found.bad_item_messages] == ["line 3", "line 4", "line 5"]


async def test_a_source_whose_records_are_all_bad_fails_though_they_may_be_left_out(workers: Workers) -> None:
    run = await workers.open(spec({"configMapRef": {"name": "words", "key": "w.jsonl"}, "onBadItem": "skip"}))
    workers.reference(run, "source", w__jsonl="<html>\n")
    message = await refused(workers, run, "InvalidSource")
    assert message.startswith("spec.source.configMapRef: ConfigMap words, key w.jsonl: none of its records can be used")
    items = [{"id": "a", "json": "{"}, {"id": "b", "json": "[]"}]
    run = await workers.open(spec({"items": items, "onBadItem": "skip"}))
    message = await refused(workers, run, "InvalidSource")
    assert message.startswith("spec.source.items: none of its records can be used (bad: 2)")


async def test_a_file_on_a_claim_is_read_and_nothing_beside_the_claim(workers: Workers, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    claim.mkdir()
    (claim / "in.jsonl").write_bytes(LINES)
    (tmp_path / "secret.jsonl").write_bytes(LINES)
    (claim / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    mounted = {"worker": {"volumes": [{"claimName": "data", "mountPath": str(claim)}]}}

    run = await workers.open(spec({"uri": {"url": f"file://{claim}/in.jsonl"}}, **mounted))
    assert await read(workers, run) == READ
    for name in ("../secret.jsonl", "link.jsonl"):
        run = await workers.open(spec({"uri": {"url": f"file://{claim}/{name}"}}, **mounted))
        assert "is not below a mount of spec.worker.volumes" in await refused(workers, run, "InvalidSource")
    run = await workers.open(spec({"uri": {"url": f"file://{claim}/absent.jsonl"}}, **mounted, **ONE_TRY))
    assert "absent.jsonl does not exist" in await refused(workers, run, "SourceUnreachable")
    run = await workers.open(spec({"uri": {"url": f"file://{claim}"}}, **mounted, **ONE_TRY))
    assert "is no regular file" in await refused(workers, run, "SourceUnreachable")


async def test_a_worker_that_takes_over_the_loading_mixes_no_two_versions_of_a_file(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.put_object("batchjob", "in/versions.jsonl", b'{"id": "old-1"}\n{"id": "old-2"}\n{"id": "old-3"}\n')
    run = await workers.open(spec({"uri": s3(neighbours, "in/versions.jsonl")}), lease_ms=300)
    workers.reference(run, "source-credentials", **S3_KEYS)
    lost = await workers.store.run(run.uid, "lost").claim_load()
    assert lost
    source = opening.open_source(run, workers.folder(run) / "references", workers.store, "lost")
    old = [record async for records in source.records() for record in records]
    await lost.put([[Item(n, record.id, record.data) for n, record in enumerate(old[:2])]])
    neighbours.put_object("batchjob", "in/versions.jsonl", LINES)
    assert await read(workers, run) == READ
    found = await workers.snapshot(run)
    assert found.source_sha256 == hashlib.sha256(LINES).hexdigest()
    assert found.source_etag != source.etag
    with pytest.raises(LeaseLost):
        await lost.finish(3, source.sha256, source.etag)


def s3(neighbours: Neighbours, key: str, **fields: Any) -> dict[str, Any]:
    endpoint = f"http://127.0.0.1:{neighbours.ports['s3']}"
    return {"url": f"s3://batchjob/{key}", "endpoint": endpoint, "credentialsSecretRef": {"name": "s3"}, **fields}


async def test_an_object_is_read_with_its_etag(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.put_object("batchjob", "in/items.jsonl", LINES)
    run = await workers.open(spec({"uri": s3(neighbours, "in/items.jsonl")}))
    workers.reference(run, "source-credentials", **S3_KEYS)
    assert await read(workers, run) == READ
    found = await workers.snapshot(run)
    assert found.source_etag
    assert found.source_sha256 == hashlib.sha256(LINES).hexdigest()


async def test_an_object_that_does_not_exist_is_named(workers: Workers, neighbours: Neighbours) -> None:
    run = await workers.open(spec({"uri": s3(neighbours, "absent.jsonl")}, **ONE_TRY))
    workers.reference(run, "source-credentials", **S3_KEYS)
    message = await refused(workers, run, "SourceUnreachable")
    assert "s3://batchjob/absent.jsonl" in message
    assert "404" in message


async def test_a_secret_without_a_key_is_named(workers: Workers, neighbours: Neighbours) -> None:
    run = await workers.open(spec({"uri": s3(neighbours, "items.jsonl")}))
    workers.reference(run, "source-credentials", AWS_ACCESS_KEY_ID="test")
    assert "Secret s3 has no key AWS_SECRET_ACCESS_KEY" in await refused(workers, run, "InvalidSource")


async def test_trouble_with_a_source_is_shown_and_passes_though_the_attempts_of_an_item_are_spent(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.put_object("batchjob", "slow/items.jsonl", LINES)
    # Each try of the worker is three requests: the library bridges hiccups.
    neighbours.set_faults("s3", [{"match": "GET batchjob/slow", "action": "status", "status": 503, "times": 3}])
    run = await workers.open(spec({"uri": s3(neighbours, "slow/items.jsonl")}, **ONE_TRY_NO_WAIT))
    workers.reference(run, "source-credentials", **S3_KEYS)
    with workers.process(run):
        shown = (await workers.wait(run, lambda s: s.load_error is not None, "the trouble to show")).load_error
        found = await workers.wait(run, lambda s: s.state is RunState.CLOSED, "the run to end")
    assert shown is not None
    assert shown[0] == "upstream"
    assert shown[1].startswith("spec.source.uri: s3://batchjob/slow/items.jsonl")
    assert "503" in shown[1]
    assert (found.load_error, found.counts.succeeded) == (None, 2)


AZURE_KEYS = {"AZURE_STORAGE_ACCOUNT_NAME": "shop", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}


@pytest.mark.parametrize(("scheme", "keys"), [("gs", None), ("az", AZURE_KEYS)])
async def test_google_and_azure_are_read_the_same_way(
    workers: Workers, neighbours: Neighbours, scheme: str, keys: dict[str, str] | None
) -> None:
    """The server is a file server that has the paths of both and looks at no signature."""
    neighbours.put_file("clouds.jsonl", LINES)
    place: dict[str, Any] = {
        "url": f"{scheme}://files/clouds.jsonl",
        "endpoint": f"https://localhost:{neighbours.ports['https']}",
    }
    place |= {"caBundleRef": {"name": "ca", "key": "ca.crt"}}
    place |= {"credentialsSecretRef": {"name": "cloud"}} if keys else {}
    for name in ("clouds", "absent"):
        source = {"uri": place | {"url": f"{scheme}://files/{name}.jsonl"}}
        run = await workers.open(spec(source, **ONE_TRY_NO_WAIT))
        workers.reference(run, "source-ca", ca__crt=neighbours.ca_certificate())
        workers.reference(run, "source-credentials", **(keys or {}))
        if name == "clouds":
            assert await read(workers, run) == READ
            assert (await workers.snapshot(run)).source_etag
        else:
            message = await refused(workers, run, "SourceUnreachable")
            assert message.startswith(f"spec.source.uri: {scheme}://files/absent.jsonl at https://localhost")
            assert "404" in message


def web(neighbours: Neighbours, name: str, **fields: Any) -> dict[str, Any]:
    url = f"https://localhost:{neighbours.ports['https']}/files/{name}"
    return {"url": url, "caBundleRef": {"name": "ca", "key": "ca.crt"}, **fields}


async def test_a_file_on_the_web_is_read_from_a_server_whose_authority_is_trusted(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.put_file("items.csv", b"id,text\na,one\nb,two\n")
    run = await workers.open(spec({"uri": web(neighbours, "items.csv", format="csv")}))
    workers.reference(run, "source-ca", ca__crt=neighbours.ca_certificate())
    assert await read(workers, run) == READ
    assert (await workers.snapshot(run)).source_etag

    stranger = web(neighbours, "items.csv") | {"caBundleRef": None}
    run = await workers.open(spec({"uri": stranger}, **ONE_TRY))
    message = await refused(workers, run, "SourceUnreachable")
    assert message.startswith(f"spec.source.uri: {stranger['url']} cannot be reached")
    assert "not trusted (unable to get local issuer certificate): name its authority in caBundleRef" in message


async def test_a_bucket_behind_a_certificate_that_is_not_trusted_says_where_to_name_the_authority(
    workers: Workers, neighbours: Neighbours
) -> None:
    endpoint = f"https://localhost:{neighbours.ports['https']}"
    run = await workers.open(spec({"uri": s3(neighbours, "items.jsonl") | {"endpoint": endpoint}}, **ONE_TRY))
    workers.reference(run, "source-credentials", **S3_KEYS)
    message = await refused(workers, run, "SourceUnreachable")
    assert message.startswith(f"spec.source.uri: s3://batchjob/items.jsonl at {endpoint} cannot be reached")
    assert "not trusted (UnknownIssuer): name its authority in caBundleRef" in message


async def test_an_authority_that_is_no_certificate_is_named(workers: Workers, neighbours: Neighbours) -> None:
    trusted = {"caBundleRef": {"name": "ca", "key": "ca.crt"}}
    for place in (web(neighbours, "items.jsonl"), s3(neighbours, "items.jsonl") | trusted):
        run = await workers.open(spec({"uri": place}, **ONE_TRY))
        workers.reference(run, "source-credentials", **S3_KEYS)
        workers.reference(run, "source-ca", ca__crt="none")
        message = await refused(workers, run, "InvalidSource")
        assert message.startswith("spec.source.uri")
        assert "caBundleRef" in message


async def test_a_source_that_never_answers_ends_the_run_when_the_patience_with_it_is_over(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PATIENCE_SECONDS", 0.5)
    run = await workers.open(spec({"uri": {"url": "https://127.0.0.1:1/items.jsonl"}}, **ONE_TRY_NO_WAIT))
    began = time.monotonic()
    message = await refused(workers, run, "SourceUnreachable")
    assert time.monotonic() - began >= 0.5
    assert message.startswith("spec.source.uri: https://127.0.0.1:1/items.jsonl cannot be reached: nothing answers")


async def test_a_web_file_that_is_missing_or_breaks_off_is_named(
    workers: Workers, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PATIENCE_SECONDS", 0.0)
    neighbours.put_file("cut.jsonl", LINES)
    neighbours.set_faults("https", [{"match": "cut", "action": "disconnect"}])
    for name, said in (("absent.jsonl", "404: it does not exist"), ("cut.jsonl", "cannot be reached")):
        run = await workers.open(spec({"uri": web(neighbours, name)}, **ONE_TRY))
        workers.reference(run, "source-ca", ca__crt=neighbours.ca_certificate())
        message = await refused(workers, run, "SourceUnreachable")
        assert f"/files/{name}" in message
        assert said in message


async def test_a_name_that_leads_to_the_metadata_service_is_refused(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        return ["169.254.169.254"]

    monkeypatch.setattr(https, "resolve", resolve)
    run = await workers.open(spec({"uri": {"url": "https://innocent.example/items.jsonl"}}))
    message = await refused(workers, run, "InvalidSource")
    assert "innocent.example is the link-local address 169.254.169.254" in message


async def test_results_of_another_run_are_items_with_their_ids(workers: Workers) -> None:
    class Mixed(Processor):
        async def process(self, item: Item, context: Context) -> Any:
            del context
            return {"object": {"n": item.data["n"]}, "number": 7, "none": None}[item.id]

    items = [{"id": name, "data": {"n": n}} for n, name in enumerate(["object", "number", "none"])]
    parent = await workers.open(spec({"items": items}))
    assert await workers.work(parent, Mixed()) == EXIT_CLOSED
    child = await workers.open(spec({"resultsOf": {"batchJobName": "parent"}}), parent=parent)
    assert await read(workers, child) == {"object": {"id": "object", "n": 0}, "number": {"id": "number", "value": 7}}
    assert (await workers.snapshot(child)).counts.total == 2


class Reject(Processor):
    """Gives up every item, as the class that it names."""

    async def process(self, item: Item, context: Context) -> None:
        del context
        if item.data["class"]:
            raise Fail("no", ErrorClass(item.data["class"]))


async def rejected(workers: Workers) -> Run:
    """A run with one success and three dead letters."""
    classes = {"a": "timeout", "b": "refused", "c": "", "d": "timeout"}
    items = [{"id": name, "json": json.dumps({"class": kind, "n": 1.50})} for name, kind in classes.items()]
    run = await workers.open(spec({"items": items}))
    assert await workers.work(run, Reject()) == EXIT_CLOSED
    return run


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (None, "abd"),
        ({"errorClass": ["timeout"]}, "ad"),
        ({"errorClass": ["timeout", "refused"], "itemIds": ["b", "d"]}, "bd"),
        ({"itemIds": ["b"]}, "b"),
        ({"errorClass": ["permission"]}, ""),
    ],
)
async def test_dead_letters_of_another_run_are_items_with_their_ids_and_data(
    workers: Workers, filters: dict[str, Any] | None, ids: str
) -> None:
    parent = await rejected(workers)
    source = {"redriveOf": {"batchJobName": "parent", "filter": filters}}
    child = await workers.open(spec(source), parent=parent)
    found = await read(workers, child)
    assert list(found) == list(ids)
    assert all(data["n"] == 1.5 for data in found.values())
    assert (await workers.snapshot(child)).counts.total == len(ids)
    assert (await workers.snapshot(parent)).counts.failed == 3


async def test_an_item_that_is_no_dead_letter_cannot_be_redriven_and_is_named(workers: Workers) -> None:
    parent = await rejected(workers)
    for filters, words in (
        ({"itemIds": ["a", "c", "x"]}, "BatchJob parent has no dead letter of these items: c, x"),
        ({"itemIds": ["b"], "errorClass": ["timeout"]}, "no dead letter of these error classes of these items: b"),
        ({"itemIds": [f"i{n}" for n in range(12)]}, "i9 and 2 more"),
    ):
        source = {"redriveOf": {"batchJobName": "parent", "filter": filters}}
        child = await workers.open(spec(source), parent=parent)
        message = await refused(workers, child, "InvalidSource")
        assert message.startswith("spec.source.redriveOf.filter.itemIds: ")
        assert words in message


async def test_dead_letters_that_are_gone_are_an_error_and_not_an_empty_run(workers: Workers, runs: Runs) -> None:
    parent = await rejected(workers)
    await runs.redis.hdel(run_key(parent.uid, "dead"), "1")
    source = {"redriveOf": {"batchJobName": "parent"}}
    for lose in (lambda: runs.redis.unlink(run_key(parent.uid, "dead"), run_key(parent.uid, "failed")), None):
        child = await workers.open(spec(source, **ONE_TRY), parent=parent)
        message = await refused(workers, child, "SourceUnreachable")
        assert message.startswith("spec.source.redriveOf: the dead letters of BatchJob parent are not in the store")
        if lose:
            await lose()


async def test_results_that_are_gone_are_named(workers: Workers) -> None:
    parent = await workers.open(spec({"items": [{"id": "a", "data": {}}]}))
    child = await workers.open(spec({"resultsOf": {"batchJobName": "parent"}}, **ONE_TRY), parent=parent)
    await workers.store.delete_run(parent.uid)
    assert "the results of BatchJob parent are not in the store" in await refused(workers, child, "SourceUnreachable")
