"""Every call of the Python client, over a gateway on a real API server and a real store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from batchjob.client import AsyncClient, Conflict, Forbidden, Invalid, NotFound
from tests.cluster.test_gateway import ITEMS, REPORT, stored
from tests.cluster.test_gateway_search import MINE, ROWS
from tests.support.gateway_world import TEAM, World, key_of


@pytest.fixture
async def alice(world: World) -> AsyncIterator[AsyncClient]:
    async with world.gateway() as gateway:
        yield AsyncClient("http://gateway", token=key_of("alice"), transport=gateway._transport)


@pytest.fixture
async def admin_client(world: World) -> AsyncIterator[AsyncClient]:
    async with world.gateway() as gateway:
        yield AsyncClient("http://gateway", token=key_of("gw-admin"), transport=gateway._transport)


async def test_a_batchjob_is_made_read_and_told_what_to_do(alice: AsyncClient, world: World) -> None:
    made = await alice.submit("custom", custom={"processor": "noop"}, items=ITEMS, labels={"team": "x"}, priority=3)
    job = await alice.get(made.job_id)
    assert (job.id, job.type, job.owner, job.state, job.ended) == (made.job_id, "custom", "alice", "pending", False)
    assert (job.labels, job.data["priority"]) == ({"team": "x"}, 3)
    for change in (alice.suspend, alice.resume, alice.cancel):
        assert (await change(made.job_id)).job_id == made.job_id
    assert stored(world, made.job_id)["spec"]["cancel"] is True
    named: dict[str, Any] = {"name": "client-named", "custom": {"processor": "noop"}, "items": ITEMS}
    await alice.submit("custom", **named)
    with pytest.raises(Conflict):
        await alice.submit("custom", **named)


async def test_what_is_in_it_is_read_and_tried_again(alice: AsyncClient, world: World) -> None:
    made = await alice.submit("custom", custom={"processor": "noop"}, items=ITEMS)
    await world.fill(stored(world, made.job_id)["metadata"]["uid"])
    assert [(one.id, one.result) async for one in alice.results(made.job_id)] == [
        ("i0", {"length": 10}),
        ("i2", {"length": 12}),
    ]
    [letter] = [one async for one in alice.dead_letters(made.job_id)]
    assert (letter.id, letter.error_class, letter.data) == ("i1", "timeout", {"text": "sentence 1"})
    assert [one async for one in alice.dead_letters(made.job_id, error_class="permission")] == []
    assert [one.id async for one in alice.items(made.job_id, page_size=1)] == ["i1"]
    found = await alice.errors(made.job_id)
    assert [(kind.error_class, kind.count, kind.example_item) for kind in found.errors] == [("timeout", 1, "i1")]
    again = await alice.redrive(made.job_id, {"errorClass": ["timeout"]})
    source = stored(world, again.job_id)["spec"]["source"]["redriveOf"]
    assert source == {"batchJobName": made.job_id.removeprefix(f"{TEAM}."), "filter": {"errorClass": ["timeout"]}}


async def test_a_search_goes_over_all_pages(alice: AsyncClient, world: World) -> None:
    await world.list({row.id: row for row in ROWS})
    found = [job async for job in alice.search(MINE, page_size=1)]
    assert [job.name for job in found] == ["job-3", "job-1", "job-0"]
    assert (found[0].labels, found[0].counts.total, found[0].state) == ({"team": "searched"}, 3, "failed")
    with pytest.raises(Invalid) as wrong:
        [job async for job in alice.search("color:red")]
    assert wrong.value.errors[0].parameter == "q"


async def test_queues_and_schedules(alice: AsyncClient, admin_client: AsyncClient) -> None:
    assert {"export", "ai-batch"} <= {queue.name for queue in await alice.queues()}
    with pytest.raises(Forbidden):
        await alice.change_queue("export", paused=True)
    changed = await admin_client.change_queue("export", maxActiveJobs=7)
    assert changed.spec["maxActiveJobs"] == 7
    spec = {"type": "report", "report": REPORT}
    made = await alice.make_schedule("client-weekly", schedules=["0 9 * * 1"], jobTemplate={"spec": spec})
    assert (made.owner, made.time_zone) == ("alice", "UTC")
    assert made.id in {schedule.id for schedule in await alice.schedules()}
    with pytest.raises(NotFound):
        await alice.get(f"{TEAM}.never-made")
