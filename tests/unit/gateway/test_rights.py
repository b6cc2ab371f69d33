"""In whose name, and by which right: what the gateway makes and changes of what is another's, or nobody's."""

import json
import re
from typing import Any, Final

import httpx2
import pytest

from batchjob.controller import actions as do
from batchjob.controller.observed import Parent
from tests.support.plan_world import World as Operator
from tests.support.plan_world import kinds
from tests.support.ui_world import ALICE, World, sign

ROOT: Final = "/admin/queues"
SAME: Final = {"Sec-Fetch-Site": "same-origin"}


async def redrive(client: httpx2.AsyncClient, key: tuple[str, str], **form: str) -> httpx2.Response:
    given = {"action": "redrive", "job": ".".join(key), "sure": "1", **form}
    return await client.post(f"{ROOT}/jobs/bulk", data=given, headers=SAME)


def failed_job(world: World) -> tuple[str, str]:
    """One with failed items."""
    return next(key for key, body in world.jobs.items() if body["status"]["counts"]["failed"])


def made(world: World) -> list[dict[str, Any]]:
    return [json.loads(one[3]) for one in world.changes if one[0] == "create"]


async def test_a_redrive_of_what_nobody_owns_is_nobodys_and_the_operator_runs_it(
    client: httpx2.AsyncClient, world: World
) -> None:
    key = failed_job(world)
    del world.jobs[key]["spec"]["owner"]
    sign(client, "admin")
    assert (await redrive(client, key)).status_code == 303
    [again] = made(world)
    operator = Operator(spec=again["spec"], parent=Parent("p-uid", "custom", ended=True, complete=True))
    assert "owner" not in again["spec"]
    assert kinds(operator.look()) == [do.OpenRun, do.Admit, do.CreateJob]


@pytest.mark.parametrize("action", ["cancel", "suspend", "resume", "redrive"])
async def test_an_admin_who_may_not_act_for_others_changes_nothing_of_theirs(
    client: httpx2.AsyncClient, world: World, action: str
) -> None:
    world.forbidden = frozenset({"impersonate-owner"})
    key = failed_job(world)
    world.jobs[key]["status"]["phase"] = "Failed" if action == "redrive" else "Running"
    world.jobs[key]["spec"] |= {"owner": "carol", "suspend": action == "resume"}
    sign(client, "admin")
    assert (await client.get(f"{ROOT}/jobs/{'/'.join(key)}")).status_code == 200, "it is read"
    refused = await redrive(client, key, action=action, typed="cancel 1")
    assert "may not impersonate-owner on batchjobs in the namespace" in refused.text
    assert world.changes == []
    del world.jobs[key]["spec"]["owner"]
    assert (await redrive(client, key, action=action, typed="cancel 1")).status_code == 303, "nobody's needs no more"
    assert len(world.changes) == 1


@pytest.mark.parametrize(("path", "form"), [("", {"suspend": "1"}), ("/run", {})])
async def test_an_admin_who_may_not_act_for_others_leaves_their_schedules(
    client: httpx2.AsyncClient, world: World, path: str, form: dict[str, str]
) -> None:
    world.forbidden = frozenset({"impersonate-owner"})
    sign(client, "admin")
    answer = await client.post(f"{ROOT}/schedules/billing/nightly-export{path}", data=form, headers=SAME)
    assert answer.status_code == 403
    assert "may not impersonate-owner" in answer.text
    assert world.changes == []


async def test_a_form_redrives_once_and_a_new_look_again(client: httpx2.AsyncClient, world: World) -> None:
    key = failed_job(world)
    sign(client, "admin")
    places = []
    for _ in range(2):
        look = await redrive(client, key, sure="0")
        [mark] = re.findall(r'name="mark" value="([^"]+)"', look.text)
        places.append([(await redrive(client, key, mark=mark)).headers["location"] for _ in range(2)])
    (first, same), (second, alike) = places
    assert first == same != second == alike
    assert len(made(world)) == 2


async def test_a_redrive_is_known_again_by_what_it_tries_and_whose_it_is(
    client: httpx2.AsyncClient, world: World
) -> None:
    key = failed_job(world)
    sign(client, "admin")
    assert (await redrive(client, key, mark="m")).status_code == 303
    [again] = made(world)
    world.jobs[key]["spec"]["priority"] = 7
    assert (await redrive(client, key, mark="m")).status_code == 303, "the spec that it was made from may change"
    there = world.jobs[key[0], again["metadata"]["name"]]["spec"]
    for another in ({"owner": "carol"}, {"source": {"items": [{"id": "1", "data": {}}]}}):
        kept = {**there}
        there |= another
        assert "has another BatchJob" in (await redrive(client, key, mark="m")).text
        there |= kept
    assert "has another BatchJob" in (await redrive(client, key, mark="m", **{"class": "timeout"})).text
    assert len(made(world)) == 1


async def test_pages_list_what_may_be_listed_as_the_api_does(client: httpx2.AsyncClient, world: World) -> None:
    key = next((row.namespace, row.name) for row in world.rows if row.errors)
    shown = {"/jobs": "/".join(key), "/dead-letters": "/".join(key), "/schedules": "billing/nightly-export"}
    sign(client, "admin")
    for path, there in shown.items():
        assert there in (await client.get(ROOT + path)).text, path
    world.queues.append({**world.queues[0], "metadata": {"name": "of-the-works-council"}})
    assert "of-the-works-council" in (await client.get(ROOT)).text
    world.forbidden = frozenset({f"get batchjobs {key[0]}", "list batchschedules billing", "list batchqueues"})
    for path, there in shown.items():
        answer = await client.get(ROOT + path)
        assert answer.status_code == 200
        assert there not in answer.text, path
    overview = (await client.get(ROOT)).text
    assert "of-the-works-council" not in overview
    assert "may not list batchqueues" in overview
    run = await client.post(f"{ROOT}/schedules/billing/nightly-export/run", headers=SAME)
    assert run.status_code == 404


async def test_a_report_on_all_is_run_again_by_admins_alone(client: httpx2.AsyncClient, world: World) -> None:
    spec = {"type": "report", "report": {"scope": "all", "deliver": {"destination": {"url": "file:///data/r"}}}}
    key = failed_job(world)
    world.jobs[key]["spec"] = {**spec, "owner": ALICE}
    world.schedules[0]["metadata"]["uid"] = "uid-schedule"
    world.schedules[0]["spec"] |= {"owner": ALICE, "jobTemplate": {"spec": spec}}
    sign(client, "alice")
    refused = await redrive(client, key)
    run = await client.post(f"{ROOT}/schedules/billing/nightly-export/run", headers=SAME)
    for answer in (refused, run):
        assert "report.scope: all is for those who may update batchqueues" in answer.text
    assert world.changes == []
    sign(client, "admin")
    assert (await redrive(client, key)).status_code == 303
    assert (await client.post(f"{ROOT}/schedules/billing/nightly-export/run", headers=SAME)).status_code == 303
    assert [one["spec"]["report"]["scope"] for one in made(world)] == ["all", "all"]


async def test_a_run_now_of_a_schedule_that_nobody_owns_is_nobodys(client: httpx2.AsyncClient, world: World) -> None:
    world.schedules[0]["metadata"]["uid"] = "uid-schedule"
    del world.schedules[0]["spec"]["owner"]
    sign(client, "admin")
    assert (await client.post(f"{ROOT}/schedules/billing/nightly-export/run", headers=SAME)).status_code == 303
    [run] = made(world)
    assert "owner" not in run["spec"]
