"""Pages of pods, logs and schedules: who may, in which namespaces, and what they say when something is away."""

import html
import json
import re
import time
from typing import Any

import httpx2
import pytest

from batchjob import log
from batchjob.api.base import GROUP
from batchjob.errors import ApiUnavailable, Invalid, StoreUnavailable
from tests.support.ui_scene import HOSTILE, build_scene
from tests.support.ui_world import ALICE, World, build_ui, sign

ROOT = "/admin/queues"
RICH = f"{ROOT}/jobs/team-search/reviews-sentiment-2401"
SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def world() -> World:
    log.configure("error")
    found = build_scene()
    found.settings["pod_logs"] = True
    pod = found.pods[0]["metadata"]["name"]
    found.logs = {pod: "".join(f"line {number} {HOSTILE}\n" for number in range(2000)), "of-another": "secret"}
    return found


def pod_of(world: World) -> str:
    name: str = world.pods[0]["metadata"]["name"]
    return name


async def test_the_end_of_a_log_is_text(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    assert f'href="{RICH}/pods/{pod_of(world)}"' in (await client.get(RICH)).text
    page = await client.get(f"{RICH}/pods/{pod_of(world)}")
    assert page.status_code == 200
    assert f"line 1999 {HOSTILE}" in html.unescape(page.text)
    assert "line 1499 " not in page.text
    assert "<script>alert" not in page.text
    assert len(page.content) < 100_000


async def test_a_log_is_for_whoever_may_get_it_and_of_a_pod_of_the_batchjob(
    client: httpx2.AsyncClient, world: World
) -> None:
    sign(client, "alice")
    assert (await client.get(f"{RICH}/pods/of-another")).status_code == 404
    world.forbidden = frozenset({"get pods/log"})
    page = await client.get(f"{RICH}/pods/{pod_of(world)}")
    assert (page.status_code, "may not get pods/log in the namespace" in page.text) == (403, True)
    assert f"/pods/{pod_of(world)}" not in (await client.get(RICH)).text


async def test_logs_are_shown_by_a_switch_alone(world: World) -> None:
    world.settings["pod_logs"] = False
    transport = httpx2.ASGITransport(app=build_ui(world))
    async with httpx2.AsyncClient(transport=transport, base_url="https://ui") as client:
        sign(client, "admin")
        page = await client.get(f"{RICH}/pods/{pod_of(world)}")
        assert (page.status_code, "gateway.podLogs.enabled" in page.text) == (404, True)
        assert f"/pods/{pod_of(world)}" not in (await client.get(RICH)).text


async def test_a_pod_without_a_log_says_why(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_log(*_: Any) -> str:
        raise Invalid('container "worker" is waiting to start: ImagePullBackOff')

    monkeypatch.setattr(world, "log", no_log)
    sign(client, "alice")
    page = await client.get(f"{RICH}/pods/{pod_of(world)}")
    assert "is waiting to start: ImagePullBackOff" in page.text


async def test_a_worker_says_when_it_was_last_heard(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "admin")
    world.seen = {pod_of(world): time.time() - 65}
    for path in (RICH, f"{ROOT}/workers"):
        page = (await client.get(path)).text
        assert re.search(r"1m\d+s ago", page)
        assert page.count("holds nothing") == 2
    world.store_error = StoreUnavailable("away")
    assert "when workers were last heard is left out" in (await client.get(f"{ROOT}/workers")).text


async def test_links_lead_from_a_batchjob_to_where_else_it_shows(world: World) -> None:
    world.settings["ui_links"] = json.dumps([{"name": "Logs", "url": "https://logs.example.com/?q={namespace}/{name}"}])
    transport = httpx2.ASGITransport(app=build_ui(world))
    async with httpx2.AsyncClient(transport=transport, base_url="https://ui") as client:
        sign(client, "alice")
        page = (await client.get(RICH)).text
        assert 'href="https://logs.example.com/?q=team-search/reviews-sentiment-2401"' in page


async def test_a_schedule_runs_now_as_its_owners(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "admin")
    world.schedules[0]["metadata"]["uid"] = "uid-schedule"
    world.schedules[0]["spec"]["concurrencyPolicy"] = "Queue"
    answer = await client.post(f"{ROOT}/schedules/billing/nightly-export/run", headers=SAME)
    [(verb, kind, name, text)] = world.changes
    made = json.loads(text)
    assert (verb, kind, answer.status_code) == ("create", "BatchJob", 303)
    assert answer.headers["location"] == f"{ROOT}/jobs/{name}"
    assert name.startswith("billing/nightly-export-20")
    assert made["spec"]["owner"] == ALICE
    assert made["spec"]["type"] == "custom"
    assert made["spec"]["ttlSecondsAfterFinished"] == 604_800
    assert made["metadata"]["labels"] == {f"{GROUP}/schedule": "nightly-export"}
    assert made["metadata"]["annotations"][f"{GROUP}/in-turn"] == "true"
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner.get("controller")) == ("BatchSchedule", "uid-schedule", None)


async def test_a_schedule_is_run_by_its_owner_who_may_make_batchjobs(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    assert (await client.post(f"{ROOT}/schedules/billing/weekly-report/run", headers=SAME)).status_code == 404
    world.forbidden = frozenset({"create"})
    assert (await client.post(f"{ROOT}/schedules/billing/nightly-export/run", headers=SAME)).status_code == 403
    assert (await client.post(f"{ROOT}/schedules/billing/nightly-export/run")).status_code == 403
    assert world.changes == []


async def test_where_namespaces_are_watched_these_alone_are_listed(world: World) -> None:
    world.watched = ("billing", "team-search")
    transport = httpx2.ASGITransport(app=build_ui(world))
    async with httpx2.AsyncClient(transport=transport, base_url="https://ui") as client:
        sign(client, "admin")
        schedules, workers = await client.get(f"{ROOT}/schedules"), await client.get(f"{ROOT}/workers")
        assert (schedules.status_code, workers.status_code) == (200, 200)
        assert "nightly-export" in schedules.text
        assert "node-0" in workers.text
        assert {space for _, space in world.listed} == {"billing", "team-search"}, "all at once would be a 403"


async def test_of_what_is_listed_no_more_is_kept_than_is_shown(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "admin")
    for body in (*world.schedules, *world.pods):
        body["metadata"]["managedFields"] = [{"manager": "x" * 1000}]
    for pod in world.pods:
        pod["spec"]["containers"] = [{"env": ["x" * 1000]}]
    world.schedules[0]["spec"]["jobTemplate"]["spec"]["source"] = {"items": [{"id": "x" * 1000}]}
    for path in ("schedules", "workers"):
        assert (await client.get(f"{ROOT}/{path}")).status_code == 200
        assert world.kept
        assert "x" * 1000 not in json.dumps(world.kept), path


async def test_a_schedule_that_cannot_be_read_hides_no_other(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "admin")
    world.schedules[0]["spec"] = {"schedule": ["of a newer version"]}
    page = await client.get(f"{ROOT}/schedules")
    assert (page.status_code, "nightly-export" in page.text) == (200, False)
    assert "weekly-report" in page.text


@pytest.mark.parametrize("path", ["", "/jobs", "/schedules", "/workers", "/dead-letters", "/jobs/team-search/x"])
async def test_what_is_away_is_said_with_what_to_do(client: httpx2.AsyncClient, world: World, path: str) -> None:
    sign(client, "admin")
    world.store_error, world.kube_error = StoreUnavailable("10.0.0.1"), ApiUnavailable("10.0.0.2")
    page = await client.get(ROOT + path)
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    for words in ("does not answer now", "BatchJobs run on meanwhile", '<a href="">Try again</a>'):
        assert words in page.text
    assert "10.0.0" not in page.text
