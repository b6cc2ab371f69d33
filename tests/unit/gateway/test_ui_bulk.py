"""What is done to many BatchJobs: what is shown and typed before, what becomes of each, and what is said of it."""

import asyncio
import json
import re
from typing import Any

import anyio
import httpx2
import pytest

from batchjob.errors import ApiUnavailable
from batchjob.gateway.lists import AT_ONCE
from batchjob.gateway.ui import reading, routes_bulk
from batchjob.gateway.ui.views_bulk import Outcome, bulk_job
from tests.support.ui_scene import build_scene
from tests.support.ui_world import ADMIN, ALICE, World, build_ui, sign

ROOT = "/admin/queues"
SAME = {"Sec-Fetch-Site": "same-origin"}


async def test_to_cancel_is_looked_at_first_and_typed(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    form = {"action": "cancel", "job": ["team-search.reviews-sentiment-2401", "team-search.welcome-mail-2402"]}
    look = await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert "Type <code>cancel 2</code>" in look.text
    assert "8,290 items will not be done" in look.text
    for typed in ("", "cancel", "cancel 3"):
        again = await client.post(f"{ROOT}/jobs/bulk", data=form | {"sure": "1", "typed": typed}, headers=SAME)
        assert 'role="alert"' in again.text
    assert world.changes == []
    done = await client.post(f"{ROOT}/jobs/bulk", data=form | {"sure": "1", "typed": " Cancel 2"}, headers=SAME)
    assert "Cancel: 2 of 2 BatchJobs" in done.text
    assert {one[2] for one in world.changes} == {f"team-search/{key.partition('.')[2]}" for key in form["job"]}
    assert [json.loads(one[3])["spec"] for one in world.changes] == [{"cancel": True}] * 2
    assert {json.loads(one[3])["metadata"]["uid"] for one in world.changes} == {"uid-rich", "uid-held"}


async def test_one_of_a_newer_version_holds_up_no_other_and_is_not_there_for_others(
    client: httpx2.AsyncClient, world: World
) -> None:
    newer = world.jobs["team-search", "welcome-mail-2402"]
    newer["spec"] |= {"type": "newer", "owner": "root@example.com"}
    sign(client, "admin")
    form = {"action": "cancel", "job": ["team-search.reviews-sentiment-2401", "team-search.welcome-mail-2402"]}
    look = await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert "Type <code>cancel 1</code>" in look.text
    assert "of a newer version than this gateway" in look.text
    path = f"{ROOT}/jobs/team-search/welcome-mail-2402"
    assert (await client.get(path)).status_code == 409
    sign(client, "alice")
    assert (await client.get(path)).status_code == 404, "that it is there is not said to others"


async def test_an_action_on_all_that_a_search_finds_says_how_many(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "admin")
    form = {"action": "redrive", "all": "1", "q": "status:failed", "class": "timeout"}
    look = await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert "Redrive timeout of 15 BatchJobs?" in look.text
    jobs = re.findall(r'name="job" value="([^"]+)"', look.text)
    sure: dict[str, str | list[str]] = {"action": "redrive", "class": "timeout", "sure": "1", "job": jobs}
    done = await client.post(f"{ROOT}/jobs/bulk", data=sure, headers=SAME)
    assert "15 of 15 BatchJobs" in done.text
    made = [json.loads(one[3]) for one in world.changes]
    assert {one["spec"]["source"]["redriveOf"]["batchJobName"] for one in made} == {key.split(".")[1] for key in jobs}
    assert all(one["spec"]["owner"] in {ALICE, ADMIN, "bob@example.com"} for one in made)


async def test_one_that_fails_holds_up_no_other(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    world.forbidden = frozenset({"patch"})
    form = {"action": "suspend", "job": "team-search.reviews-sentiment-2401", "sure": "1"}
    done = await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert "Suspend: 0 of 1 BatchJob" in done.text
    assert "may not patch batchjobs" in done.text


def fields_of(text: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="([a-z]+)" value="([^"]*)"', text))


async def post(client: httpx2.AsyncClient, form: dict[str, str]) -> str:
    return (await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)).text


async def test_thousands_are_done_in_steps_and_the_result_says_why_some_were_not(
    client: httpx2.AsyncClient,
) -> None:
    world = build_scene(1300)
    client._transport = httpx2.ASGITransport(app=build_ui(world))
    sign(client, "admin")
    look = await post(client, {"action": "suspend", "all": "1", "q": "-status:cancelled"})
    assert "Suspend 1,140 BatchJobs?" in look
    assert 'name="job"' not in look, "so many names would be no small page"
    assert len(look) < 20_000
    sure = fields_of(look)
    running = [row for row in world.rows if row.phase in {"Running", "Queued"}]
    world.jobs[running[0].namespace, running[0].name]["spec"]["suspend"] = True
    done = await post(client, sure)
    steps = re.findall(r"([\d,]+) of 1,140</span>", done)
    assert steps == [f"{min(number, 1140):,}" for number in range(40, 1180, 40)]
    assert f"Suspend: {len(running) - 1} of 1,140 BatchJobs" in done
    assert len(world.changes) == len(running) - 1
    for why in ("it has ended (Succeeded)", "it has ended (Failed)", "it is suspended already"):
        assert re.search(rf'<span class="held num">[\d,]+</span> {re.escape(why)}', done), why


async def test_what_was_made_after_the_look_is_not_meant(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "admin")
    newest = world.rows[0]
    form = {
        "action": "suspend",
        "all": "1",
        "q": "",
        "sure": "1",
        "until": str(int(newest.created) - 1),
        "count": "500",
    }
    await post(client, form)
    assert world.changes
    assert f"{newest.namespace}/{newest.name}" not in {one[2] for one in world.changes}


async def test_what_is_typed_is_the_number_that_was_shown(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_BULK", 10)
    sign(client, "admin")
    look = await post(client, {"action": "cancel", "all": "1", "q": "status:running"})
    sure = fields_of(look)
    assert f"Type <code>cancel {sure['count']}</code>" in look
    again = await post(client, sure | {"typed": "cancel 1"})
    assert 'role="alert"' in again
    assert world.changes == []
    world.rows[:] = [row for row in world.rows if row.phase != "Running"][:5] + [
        row for row in world.rows if row.phase == "Running"
    ][:-1]  # one ended meanwhile
    done = await post(client, sure | {"typed": f"cancel {sure['count']}"})
    assert f"of {int(sure['count']) - 1} BatchJobs" in done
    assert len(world.changes) == int(sure["count"]) - 1


async def test_an_api_server_that_goes_away_on_the_way_is_told_for_each(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(client, "admin")
    look = await post(client, {"action": "suspend", "all": "1", "q": "status:running"})
    jobs = re.findall(r'name="job" value="([^"]+)"', look)

    async def away(*_: object, **__: object) -> None:
        raise ApiUnavailable("10.0.0.1 refused")

    monkeypatch.setattr(world, "patch", away)
    done = await post(client, {"action": "suspend", "sure": "1", "job": jobs})  # type: ignore[dict-item]
    assert f"Suspend: 0 of {len(jobs)} BatchJobs" in done
    assert f'<span class="bad num">{len(jobs)}</span> Kubernetes does not answer now' in done
    assert "10.0.0.1" not in done


async def test_of_a_page_that_is_closed_what_has_begun_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = list[tuple[str, str]](), list[tuple[str, str]]()

    async def do(_doors: Any, _caller: Any, _order: Any, key: tuple[str, str]) -> Outcome:
        begun.append(key)
        if len(begun) == AT_ONCE:
            group.cancel_scope.cancel()
        await asyncio.sleep(0.01)
        ended.append(key)
        return Outcome("done", bulk_job(*key, ""))

    monkeypatch.setattr(routes_bulk, "_do", do)
    keys = [("team", f"n{number}") for number in range(30)]
    nothing: Any = None
    async with anyio.create_task_group() as group:
        group.start_soon(routes_bulk._do_some, nothing, nothing, nothing, keys)
    assert sorted(ended) == sorted(begun)
    assert len(begun) == AT_ONCE
