"""The HTTP API on a real API server and a real store: what each route does (who may: test_gateway_tenancy)."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from batchjob.core.rows import fingerprint
from tests.support.gateway_world import TEAM, World, bearer

JOBS: Final = "/api/v1/batch-jobs"
SEED: Final = "/api/ai-annotator/batch"
ITEMS: Final = [{"id": f"i{place}", "data": {"text": f"sentence {place}"}} for place in range(3)]
NOOP: Final[dict[str, Any]] = {"type": "custom", "custom": {"processor": "noop"}, "items": ITEMS}
FORM: Final = {"fields": [{"name": "mood", "type": "string"}]}
MODEL: Final = {"name": "m", "baseUrl": "http://model/v1"}
SEED_BODY: Final = {
    "items": ["good", {"text": "bad"}],
    "formSchema": FORM,
    "options": {"instructions": "x", "model": MODEL},
}
REPORT: Final = {"deliver": {"destination": {"url": "s3://reports/all"}}}


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with world.gateway() as found:
        yield found


async def made(client: httpx2.AsyncClient, world: World, body: dict[str, Any] = NOOP, path: str = JOBS) -> str:
    answer = await client.post(path, json=body, headers=bearer("alice"))
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["jobId"]
    await world.fill(stored(world, job)["metadata"]["uid"])
    return job


def stored(world: World, job: str) -> dict[str, Any]:
    return world.team.get("batchjob", job.removeprefix(f"{TEAM}."))


async def test_anothers_job_and_none_at_all_look_the_same(client: httpx2.AsyncClient, world: World) -> None:
    job = await made(client, world)
    for there in (await client.get(f"{JOBS}/{job}", headers=bearer("bob")),):
        none = await client.get(f"{JOBS}/{TEAM}.never-made", headers=bearer("bob"))
        assert {**there.json(), "instance": ""} == {**none.json(), "instance": ""}
    for nonsense in ("x", "..", "a.b.c", "A.b", f"{TEAM}.{'x' * 60}", "%2e%2e%2f", f"{TEAM}.a%2fb"):
        assert (await client.get(f"{JOBS}/{nonsense}", headers=bearer("alice"))).status_code == 404


async def test_what_is_accepted_is_a_custom_resource_of_its_owner(client: httpx2.AsyncClient, world: World) -> None:
    body = {**NOOP, "name": "named-by-alice", "labels": {"team": "x"}, "priority": 3}
    answer = await client.post(JOBS, json=body, headers=bearer("alice"))
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["success"], told["jobId"], told["status"]) == (True, f"{TEAM}.named-by-alice", "queued")
    assert answer.headers["location"] == told["links"]["self"] == f"{JOBS}/{TEAM}.named-by-alice"
    assert int(answer.headers["retry-after"]) > 0
    found = stored(world, told["jobId"])
    assert found["metadata"]["labels"] == {"team": "x"}
    assert found["spec"]["owner"] == "alice"
    assert found["spec"]["priority"] == 3
    assert found["spec"]["ttlSecondsAfterFinished"] == 604_800
    assert found["spec"]["source"]["items"] == ITEMS
    again = await client.post(JOBS, json=body, headers=bearer("alice"))
    assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (409, "conflict")


async def test_nobody_makes_a_job_in_anothers_name(client: httpx2.AsyncClient) -> None:
    answer = await client.post(JOBS, json={**NOOP, "owner": "alice"}, headers=bearer("bob"))
    assert answer.status_code == 403
    assert (await client.post(JOBS, json={**NOOP, "owner": "bob"}, headers=bearer("bob"))).status_code == 202
    report = {"type": "report", "report": {**REPORT, "scope": "all"}}
    assert (await client.post(JOBS, json=report, headers=bearer("bob"))).status_code == 403
    assert (await client.post(JOBS, json=report, headers=bearer("gw-admin"))).status_code == 202


async def test_a_key_makes_one_job_whoever_repeats_it_and_however_often(client: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}

    async def post(user: str, body: dict[str, Any]) -> httpx2.Response:
        return await client.post(JOBS, json=body, headers=bearer(user) | key)

    first, again = await post("alice", NOOP), await post("alice", dict(reversed(NOOP.items())))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    other = await post("alice", {**NOOP, "priority": 9})
    assert (other.status_code, other.json()["type"].rpartition("/")[2]) == (422, "idempotency-key-reused")
    export = await post("alice", {"type": "report", "report": REPORT})
    assert export.status_code == 422, "another type is another body"
    theirs = await post("bob", NOOP)
    assert theirs.status_code == 202
    assert theirs.json()["jobId"] != first.json()["jobId"], "a key is its user's own"
    named = await post("alice", {**NOOP, "name": "x"})
    assert named.status_code == 422
    for bad in ("", "x" * 256, "a b"):
        answer = await client.post(JOBS, json=NOOP, headers=bearer("alice") | {"Idempotency-Key": bad})
        assert answer.status_code == 400, bad


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"type": "nonsense"}, ["/type"]),
        ({"parallelism": "4", "priority": 11}, ["/parallelism", "/priority"]),
        ({"custom": None}, ["/custom"]),
        ({"export": {"format": "csv"}}, ["/export/columns", "/export/destination"]),
        ({"items": [{"id": "a", "data": {"x": 1}, "json": "{}"}]}, ["/items/0"]),
        ({"items": [{"data": {"x": 1}}]}, ["/items/0/id"]),
        ({"items": "none"}, ["/items"]),
        ({"source": {"items": ITEMS}}, ["/source"]),
        ({"paralellism": 4}, ["/paralellism"]),
        ({"custom": {"processor": "noop", "paramz": {}}}, ["/custom/paramz"]),
        ({"name": "Not.A.Name"}, ["/name"]),
        ({"name": 3}, ["/name"]),
        ({"labels": {"a": "b c"}}, ["/labels"]),
        ({"metadata": {"name": "x"}}, ["/metadata"]),
    ],
    ids=str,
)
async def test_what_is_wrong_is_pointed_at(client: httpx2.AsyncClient, change: Any, pointers: list[str]) -> None:
    answer = await client.post(JOBS, json={**NOOP, **change}, headers=bearer("alice"))
    assert answer.status_code == 422, answer.text
    found = {error["pointer"] for error in answer.json()["errors"]}
    assert set(pointers) & found, answer.text
    assert all(error["detail"] for error in answer.json()["errors"])


async def test_what_is_too_large_is_refused_with_a_way_out(client: httpx2.AsyncClient) -> None:
    fat = [{"id": str(place), "data": {"text": "x" * 3000}} for place in range(30)]
    many = [{"id": str(place), "data": {"n": place}} for place in range(1001)]
    long = [{"id": "1", "data": {"deep": [["x" * 5000]]}}]
    for items in (fat, many, long):
        answer = await client.post(JOBS, json={**NOOP, "items": items}, headers=bearer("alice"))
        assert answer.status_code == 413, answer.text
        assert "source.uri" in answer.json()["detail"]


async def test_deep_data_becomes_text_that_the_run_reads_as_it_was(client: httpx2.AsyncClient, world: World) -> None:
    items = [{"id": "1", "data": {"tags": ["a", "ä"], "ok": True}}]
    answer = await client.post(JOBS, json={**NOOP, "items": items}, headers=bearer("alice"))
    assert answer.status_code == 202, answer.text
    [item] = stored(world, answer.json()["jobId"])["spec"]["source"]["items"]
    assert json.loads(item["json"]) == items[0]["data"]


async def test_the_limits_of_a_queue_hold_here_too(client: httpx2.AsyncClient) -> None:
    limits = {"limits": {"maxItems": 2}}
    answer = await client.patch("/api/v1/queues/email", json=limits, headers=bearer("gw-admin"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["queue"]["spec"]["limits"] == {"maxItems": 2}
    refused = await client.post(JOBS, json={**NOOP, "queueName": "email"}, headers=bearer("alice"))
    assert refused.status_code == 413
    wrong = await client.patch("/api/v1/queues/email", json={"paused": "yes"}, headers=bearer("gw-admin"))
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/paused"]
    unknown = await client.patch("/api/v1/queues/email", json={"pauzed": True}, headers=bearer("gw-admin"))
    assert unknown.status_code == 422
    nowhere = await client.patch("/api/v1/queues/nowhere", json={"paused": True}, headers=bearer("gw-admin"))
    assert nowhere.status_code == 404


async def test_a_job_that_has_not_changed_is_not_sent_again(client: httpx2.AsyncClient, world: World) -> None:
    job = await made(client, world)
    first = await client.get(f"{JOBS}/{job}", headers=bearer("alice"))
    tag = first.headers["etag"]
    found = first.json()["job"]
    assert (found["id"], found["state"], found["owner"], found["returnvalue"]) == (job, "pending", "alice", None)
    for known in (tag, f'"x", W/{tag}', "*"):
        same = await client.get(f"{JOBS}/{job}", headers=bearer("alice") | {"If-None-Match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await client.post(f"{JOBS}/{job}/suspend", headers=bearer("alice"))
    changed = await client.get(f"{JOBS}/{job}", headers=bearer("alice") | {"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_orders_are_fields_of_the_custom_resource(client: httpx2.AsyncClient, world: World) -> None:
    job = await made(client, world)
    for verb, spec in (("suspend", {"suspend": True}), ("resume", {"suspend": False}), ("cancel", {"cancel": True})):
        answer = await client.post(f"{JOBS}/{job}/{verb}", headers=bearer("alice"))
        assert answer.json()["jobId"] == job
        assert stored(world, job)["spec"].items() >= spec.items()
    assert stored(world, job)["spec"]["resumeToken"]


async def test_a_job_that_has_ended_takes_no_orders_and_has_a_value(client: httpx2.AsyncClient, world: World) -> None:
    job = await made(client, world)
    status = {"phase": "Succeeded", "percent": "100%", "counts": {"total": 3, "succeeded": 2, "failed": 1}}
    patch = json.dumps({"status": status})
    world.team("patch", "batchjob", job.removeprefix(f"{TEAM}."), "--subresource=status", "--type=merge", "-p", patch)
    for verb in ("cancel", "suspend", "resume"):
        assert (await client.post(f"{JOBS}/{job}/{verb}", headers=bearer("alice"))).status_code == 409
    found = (await client.get(f"{JOBS}/{job}", headers=bearer("alice"))).json()["job"]
    assert (found["state"], found["progress"], found["returnvalue"]["processed"]) == ("succeeded", 100, 3)


async def test_dead_letters_are_tried_again_as_a_job_of_the_same_owner(
    client: httpx2.AsyncClient, world: World
) -> None:
    job = await made(client, world)
    key = bearer("gw-admin") | {"Idempotency-Key": uuid.uuid4().hex}
    wanted = {"filter": {"errorClass": ["timeout"]}}
    answers = [await client.post(f"{JOBS}/{job}/redrive", json=wanted, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
    again, same = (answer.json()["jobId"] for answer in answers)
    assert again == same != job
    found = stored(world, again)["spec"]
    assert found["owner"] == "alice"
    assert found["source"]["redriveOf"] == {"batchJobName": job.removeprefix(f"{TEAM}."), **wanted}
    assert found["custom"] == NOOP["custom"]
    wrong = await client.post(f"{JOBS}/{job}/redrive", json={"fliter": {}}, headers=bearer("alice"))
    assert wrong.status_code == 422


async def test_who_looks_after_queues_reads_everybodys_and_changes_what_is_nobodys(
    client: httpx2.AsyncClient, world: World
) -> None:
    job, steward = await made(client, world), bearer("gw-steward")
    assert (await client.get(f"{JOBS}/{job}", headers=steward)).status_code == 200
    for verb in ("suspend", "resume", "cancel", "redrive"):
        refused = await client.post(f"{JOBS}/{job}/{verb}", headers=steward)
        assert refused.status_code == 403
        assert "gw-steward may not impersonate-owner on batchjobs" in refused.json()["detail"]
    spec = {**NOOP, "source": {"items": ITEMS}}
    del spec["items"]
    job_kind = {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchJob", "metadata": {"name": "nobodys"}}
    world.team.apply({**job_kind, "spec": spec})
    for verb in ("redrive", "cancel"):
        assert (await client.post(f"{JOBS}/{TEAM}.nobodys/{verb}", headers=steward)).status_code == 202


async def test_items_errors_and_results_come_from_the_store(client: httpx2.AsyncClient, world: World) -> None:
    job = await made(client, world)
    alice = bearer("alice")
    failed = (await client.get(f"{JOBS}/{job}/items", headers=alice)).json()
    assert [item["id"] for item in failed["items"]] == ["i1"]
    assert failed["items"][0]["data"] == {"text": "sentence 1"}
    assert failed["next"] is None
    none = await client.get(f"{JOBS}/{job}/items?errorClass=permission", headers=alice)
    assert none.json()["items"] == []
    succeeded = (await client.get(f"{JOBS}/{job}/items?status=succeeded", headers=alice)).json()
    assert [(item["id"], item["result"]) for item in succeeded["items"]] == [
        ("i0", {"length": 10}),
        ("i2", {"length": 12}),
    ]
    kinds = (await client.get(f"{JOBS}/{job}/errors", headers=alice)).json()["errors"]
    said = {"errorClass": "timeout", "message": "it took too long", "count": 1, "exampleItem": "i1"}
    assert kinds == [{"fingerprint": fingerprint("timeout", "it took too long"), **said}]
    lines = (await client.get(f"{JOBS}/{job}/results", headers=alice)).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["i0", "i2"]
    first = await client.get(f"{JOBS}/{job}/items?limit=1", headers=alice)
    assert first.headers["link"] == f'<{JOBS}/{job}/items?limit=1&cursor=2>; rel="next"'
    wrong = await client.get(f"{JOBS}/{job}/items?limit=501&status=waiting", headers=alice)
    assert {error["parameter"] for error in wrong.json()["errors"]} == {"limit", "status"}


async def test_the_earlier_clients_routes_speak_its_words(world: World, tmp_path: Path) -> None:
    template = tmp_path / "annotator.yaml"
    template.write_text(
        "concurrency: 2\naiBatch: {instructions: Say how it is., model: {name: m, baseUrl: http://m/v1}}\n"
    )
    async with world.gateway(annotator_file=template) as client:
        schema = {
            "type": "object",
            "properties": {"mood": {"type": "string", "enum": ["+", "-"]}},
            "required": ["mood"],
        }
        answer = await client.post(SEED, json={"items": ["good"], "formSchema": schema}, headers=bearer("alice"))
        assert answer.status_code == 202, answer.text
        told = answer.json()
        assert (told["success"], told["status"], told["message"]) == (True, "queued", "Job queued for processing")
        spec = stored(world, told["jobId"])["spec"]
        assert (spec["type"], spec["concurrency"], spec["owner"]) == ("ai-batch", 2, "alice")
        assert spec["aiBatch"]["formSchema"]["fields"] == [
            {"name": "mood", "type": "enum", "required": True, "enum": ["+", "-"]}
        ]
        found = (await client.get(f"{SEED}/{told['jobId']}/status", headers=bearer("alice"))).json()["job"]
        assert found["state"] == "waiting"
        assert found["data"]["userId"] == "alice"
        wrong = await client.post(SEED, json={"items": [1], "formSchema": schema}, headers=bearer("alice"))
        assert [error["pointer"] for error in wrong.json()["errors"]] == ["/items/0"]
        wrong = await client.post(SEED, json={"items": ["x"], "formSchema": {"fields": []}}, headers=bearer("alice"))
        assert [error["pointer"] for error in wrong.json()["errors"]] == ["/formSchema/fields"]


async def test_a_schedule_is_its_owners_and_seen_by_admins(client: httpx2.AsyncClient) -> None:
    body = {"name": "weekly", "schedules": ["0 9 * * 1"], "jobTemplate": {"spec": {"type": "report", "report": REPORT}}}
    answer = await client.post("/api/v1/schedules", json=body, headers=bearer("alice"))
    assert answer.status_code == 201, answer.text
    assert answer.json()["schedule"]["owner"] == "alice"

    async def names(user: str) -> set[str]:
        found = (await client.get("/api/v1/schedules", headers=bearer(user))).json()["schedules"]
        return {schedule["name"] for schedule in found}

    assert "weekly" in await names("alice")
    assert "weekly" not in await names("bob")
    assert "weekly" in await names("gw-admin")
    wrong = await client.post(
        "/api/v1/schedules", json={**body, "name": "w", "schedules": ["x"]}, headers=bearer("alice")
    )
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/schedules/0"]


async def test_who_asks_too_often_is_told_when_to_come_back(world: World) -> None:
    async with world.gateway(reads_per_minute=2) as client:
        answers = [await client.get(f"{JOBS}/{TEAM}.none", headers=bearer("eager")) for _ in range(10)]
        assert [answer.status_code for answer in answers[:2]] == [404, 404]
        assert answers[0].headers["ratelimit"].startswith('"read";r=1;t=')
        late = next(answer for answer in answers if answer.status_code == 429)
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert late.headers["ratelimit-policy"] == '"read";q=2;w=60'
        assert late.headers["ratelimit"].startswith('"read";r=0;t=')
        assert (await client.get(f"{JOBS}/{TEAM}.none", headers=bearer("calm"))).status_code == 404
