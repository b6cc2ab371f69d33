"""What is left of an action: a line in the log, an entry in the store, an Event on the object; and the page of it."""

import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from batchjob import log
from batchjob.core.reasons import Reason
from batchjob.errors import StoreUnavailable
from batchjob.gateway import audit, changes
from batchjob.gateway.audit import Deed, acted, build_default
from batchjob.gateway.ui import routes_bulk
from batchjob.store import AuditEntry
from tests.support.ui_scene import build_scene
from tests.support.ui_world import ADMIN, ALICE, World, build_ui, sign

ROOT = "/admin/queues"
SAME = {"Sec-Fetch-Site": "same-origin"}
SUSPEND = {"action": "suspend", "job": "team-search.reviews-sentiment-2401", "sure": "1"}


@pytest.fixture
def world() -> World:
    return build_scene()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    found = io.StringIO()
    log.configure(stream=found)
    yield found
    log.configure("error")


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=build_ui(world), client=("192.0.2.7", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="https://ui") as client:
        yield client


def told(lines: io.StringIO) -> list[dict[str, object]]:
    return [one for line in lines.getvalue().splitlines() if (one := json.loads(line))["event"] == "audit"]


async def test_an_action_leaves_a_line_an_entry_and_an_event(
    client: httpx2.AsyncClient, world: World, lines: io.StringIO
) -> None:
    sign(client, "alice")
    await client.post(f"{ROOT}/jobs/bulk", data=SUSPEND, headers=SAME | {"X-Request-Id": "mine-1"})
    [entry] = world.audited
    known = (entry.user, entry.verb, entry.kind, entry.object, entry.outcome, entry.address, entry.via, entry.request)
    job = "team-search.reviews-sentiment-2401"
    assert known == (ALICE, "suspend", "BatchJob", job, "done", "192.0.2.7", "ui", "mine-1")
    [line] = told(lines)
    assert (line["user"], line["verb"], line["object"], line["request"]) == (ALICE, "suspend", job, "mine-1")
    [event] = world.posted
    assert event["reason"] == Reason.ACTION_REQUESTED
    assert event["note"] == f"{ALICE} asked for suspend through the gateway"
    assert event["regarding"]["uid"] == "uid-rich"


async def test_a_look_leaves_nothing_and_a_refusal_does(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    await client.get(f"{ROOT}/jobs")
    await client.post(f"{ROOT}/jobs/bulk", data={"action": "cancel", "job": SUSPEND["job"]}, headers=SAME)
    assert world.audited == []
    theirs = next(".".join(key) for key, job in world.jobs.items() if job["spec"]["owner"] != ALICE)
    cancel = {"action": "cancel", "job": theirs, "sure": "1", "typed": "cancel 1"}
    await client.post(f"{ROOT}/jobs/bulk", data=cancel, headers=SAME)
    await client.post(f"{ROOT}/queues/ai-batch", data={"paused": "1"}, headers=SAME)
    await client.post(f"{ROOT}/queues/ai-batch", data={"paused": "1"}, headers={"Sec-Fetch-Site": "cross-site"})
    found = [(one.verb, one.kind, one.object, one.outcome, one.user) for one in world.audited]
    assert found == [
        ("cancel", "BatchJob", theirs, "refused", ALICE),
        ("change", "BatchQueue", "ai-batch", "refused", ALICE),
        ("change", "BatchQueue", "ai-batch", "refused", ""),
    ]
    assert world.posted == []


async def test_each_of_many_has_an_entry_and_one_that_fails_says_so(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    jobs = ["team-search.reviews-sentiment-2401", "team-search.welcome-mail-2402"]
    form = {"action": "cancel", "job": jobs, "sure": "1", "typed": "cancel 2"}
    world.forbidden = frozenset({"patch"})
    await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert {(one.object, one.outcome) for one in world.audited} == {(job, "refused") for job in jobs}
    world.audited.clear()
    world.forbidden = frozenset()
    await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert {(one.object, one.outcome) for one in world.audited} == {(job, "done") for job in jobs}
    assert len(world.posted) == 2


async def test_a_gateway_that_is_killed_in_the_middle_has_told_of_what_it_did(
    client: httpx2.AsyncClient, world: World, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as one can see without a kill: what the log and the store have when the next group begins."""
    sign(client, "alice")
    jobs = ["team-search.reviews-sentiment-2401", "team-search.welcome-mail-2402"]
    form = {"action": "cancel", "job": jobs, "sure": "1", "typed": "cancel 2"}
    seen: list[tuple[int, int]] = []
    change = changes.change

    async def changed(*given: Any) -> None:
        seen.append((len(told(lines)), len(world.audited)))
        await change(*given)

    monkeypatch.setattr(routes_bulk, "GROUP", 1)
    monkeypatch.setattr(changes, "change", changed)
    await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert seen == [(0, 0), (1, 1)]
    assert (len(told(lines)), len(world.audited)) == (2, 2)


async def test_a_line_comes_before_the_answer(
    client: httpx2.AsyncClient, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(client, "alice")
    seen: list[int] = []

    async def change(*_: Any) -> None:
        acted(Deed("suspend", "BatchJob", {"name": "a"}))
        seen.append(len(told(lines)))

    monkeypatch.setattr(changes, "change", change)
    await client.post(f"{ROOT}/jobs/bulk", data=SUSPEND, headers=SAME)
    assert seen == [1]
    [line] = told(lines)
    assert line["user"] == ALICE


async def test_of_many_the_first_have_an_event(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_EVENTS", 1)
    sign(client, "alice")
    jobs = ["team-search.reviews-sentiment-2401", "team-search.welcome-mail-2402"]
    form = {"action": "cancel", "job": jobs, "sure": "1", "typed": "cancel 2"}
    await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert [event["regarding"]["name"] for event in world.posted] == ["reviews-sentiment-2401"]
    assert len(world.audited) == 2


async def test_a_request_id_that_comes_again_hides_no_event(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    for _ in range(2):
        await client.post(f"{ROOT}/jobs/bulk", data=SUSPEND, headers=SAME | {"X-Request-Id": "always-the-same"})
    assert len({event["metadata"]["name"] for event in world.posted}) == len(world.posted) == 2


async def test_signing_in_and_out_is_told_of_without_the_token(
    client: httpx2.AsyncClient, world: World, lines: io.StringIO
) -> None:
    await client.post(f"{ROOT}/sign-in", data={"token": "alice"}, headers=SAME)
    await client.post(f"{ROOT}/sign-in", data={"token": "hunter2"}, headers=SAME)
    await client.post(f"{ROOT}/sign-out", headers=SAME)
    assert [(one.verb, one.user, one.outcome) for one in world.audited] == [
        ("sign-in", ALICE, "done"),
        ("sign-in", "", "refused"),
        ("sign-out", ALICE, "done"),
    ]
    assert "hunter2" not in lines.getvalue() + repr(world.audited)


async def test_without_the_store_the_action_goes_on_and_the_log_has_it(
    client: httpx2.AsyncClient, world: World, lines: io.StringIO
) -> None:
    world.store_error = StoreUnavailable("away")
    answer = await client.post(f"{ROOT}/sign-in", data={"token": "alice"}, headers=SAME)
    assert answer.status_code == 303
    assert [one["verb"] for one in told(lines)] == ["sign-in"]
    assert world.audited == []
    assert "the audit trail cannot be written" in lines.getvalue()


@pytest.mark.parametrize(
    ("method", "route", "expected"),
    [
        ("POST", "/api/v1/batch-jobs", ("create", "BatchJob", "")),
        ("POST", "/api/v1/batch-jobs/{job}/cancel", ("cancel", "BatchJob", "a.b")),
        ("PATCH", "/api/v1/queues/{name}", ("patch", "BatchQueue", "a.b")),
        ("POST", "/api/ai-annotator/batch", ("create", "BatchJob", "")),
        ("POST", "/admin/queues/jobs/bulk", ("bulk", "BatchJob", "")),
        ("POST", "/admin/queues/sign-in", ("sign-in", "Session", "")),
        ("DELETE", "/api/v2/new-things/{id}", ("delete", "", "a.b")),
    ],
)
def test_what_no_route_told_of_is_told_by_method_and_path(
    method: str, route: str, expected: tuple[str, str, str]
) -> None:
    parameters = {"any": "a.b"} if "{" in route else {}
    deed = build_default(method, route, parameters)
    assert (deed.verb, deed.kind, deed.object) == expected


async def test_the_page_is_for_admins_and_filters_and_goes_on(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    assert (await client.get(f"{ROOT}/audit")).status_code == 403
    assert ">Audit<" not in (await client.get(ROOT)).text
    world.audited[:] = [
        AuditEntry(verb="cancel" if number % 2 else "suspend", outcome="done", user=ALICE, kind="BatchJob",
                   object=f"team.run-{number}", id=f"{1_790_000_000_000 + number}-{number}")
        for number in range(120)
    ]  # fmt: skip
    world.audited.append(AuditEntry(verb="create", outcome="refused", code=401, id="1790000000999-120"))
    sign(client, "admin")
    first = (await client.get(f"{ROOT}/audit")).text
    assert re.findall(r">team\.run-(\d+)<", first) == [str(number) for number in range(119, 69, -1)]
    following = re.findall(r'href="([^"]+)" rel="next"', first)[0].replace("&amp;", "&")
    assert "team.run-69<" in (await client.get(following)).text
    some = (await client.get(f"{ROOT}/audit?what=cancel&on=run-11")).text
    assert re.findall(r">team\.run-(\d+)<", some) == ["119", "117", "115", "113", "111", "11"]
    nobody = (await client.get(f"{ROOT}/audit?strangers=1")).text
    assert ("refused" in nobody, "team.run" in nobody) == (True, False)
    assert (await client.get(f"{ROOT}/audit", params={"who": '"><script>'})).text.count("<script>") == 0
    assert ADMIN in first
