"""The gateway's list of BatchJobs: a search of the index, of the caller's own alone unless they are an admin."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import httpx2
import pytest

from batchjob.core.rows import JobRow
from batchjob.gateway.views import JOBS
from tests.support.gateway_world import TEAM, World, bearer

CREATED: Final = 1_800_000_000
MINE: Final = "label.team:searched"  # the index is that of all tests: no other has this label
ROWS: Final = [
    JobRow(
        phase=phase,
        queue="export",
        owner=owner,
        namespace=namespace,
        type="export",
        labels=("team=searched",),
        name=f"job-{number}",
        uid=f"search-{number}",
        created=CREATED + number,
        total=3,
        failed=1,
    )
    for number, (owner, phase, namespace) in enumerate(
        [
            ("alice", "Failed", TEAM),
            ("alice", "Running", TEAM),
            ("bob", "Failed", TEAM),
            ("alice", "Failed", TEAM),
            ("nobody", "Failed", TEAM),
        ]
    )
]


@pytest.fixture(scope="module")
def world(world: World) -> World:
    asyncio.run(world.list({row.id: row for row in ROWS}))
    return world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with world.gateway() as found:
        yield found


async def names(client: httpx2.AsyncClient, user: str, query: str) -> list[str]:
    answer = await client.get(JOBS, params={"q": query}, headers=bearer(user))
    assert answer.status_code == 200, answer.text
    return [job["name"] for job in answer.json()["jobs"]]


async def test_an_owner_finds_the_own_and_an_admin_all(client: httpx2.AsyncClient) -> None:
    assert await names(client, "alice", f"type:export {MINE}") == ["job-3", "job-1", "job-0"]
    assert await names(client, "alice", "status:failed label.team:searched") == ["job-3", "job-0"]
    assert await names(client, "bob", MINE) == ["job-2"]
    assert await names(client, "alice", "owner:bob") == []
    assert await names(client, "gw-admin", "status:failed label.team:searched -owner:alice") == ["job-4", "job-2"]


async def test_who_may_not_read_in_a_namespace_sees_nothing_of_it(client: httpx2.AsyncClient) -> None:
    assert await names(client, "nobody", "") == []


async def test_pages_follow_each_other_by_link_and_are_of_one_search(client: httpx2.AsyncClient) -> None:
    alice = bearer("alice")
    first = await client.get(JOBS, params={"limit": 2, "q": MINE}, headers=alice)
    body = first.json()
    assert [job["id"] for job in body["jobs"]] == [f"{TEAM}.job-3", f"{TEAM}.job-1"]
    assert (body["jobs"][0]["counts"]["total"], body["jobs"][0]["labels"]) == (3, {"team": "searched"})
    second = await client.get(first.headers["link"].partition(">")[0].removeprefix("<"), headers=alice)
    assert ([job["name"] for job in second.json()["jobs"]], second.json()["next"]) == (["job-0"], None)
    assert "link" not in second.headers
    for user, query in (("alice", "status:failed"), ("bob", MINE)):
        other = await client.get(JOBS, params={"q": query, "cursor": body["next"]}, headers=bearer(user))
        assert (other.status_code, other.json()["errors"][0]["parameter"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("parameters", "where"), [({"q": "color:red"}, "q"), ({"q": "a" * 2049}, "q"), ({"limit": 501}, "limit")]
)
async def test_a_search_that_is_none_is_explained(
    client: httpx2.AsyncClient, parameters: dict[str, str | int], where: str
) -> None:
    answer = await client.get(JOBS, params=parameters, headers=bearer("alice"))
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == [where]
