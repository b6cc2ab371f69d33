"""The pages as a browser gets them, over made-up doors: escaping, headers, sizes, who may, and what is changed."""

import html
import json
import re

import httpx2
import pytest

from batchjob.errors import StoreUnavailable
from batchjob.gateway.ui.assets import ASSETS
from tests.support.ui_scene import HOSTILE
from tests.support.ui_world import ALICE, World, sign

ROOT = "/admin/queues"
RICH = f"{ROOT}/jobs/team-search/reviews-sentiment-2401"
PAGES = (
    "", "/jobs", "/jobs?q=status:failed", "/jobs?q=statu:x", "/jobs?q=zzz", "/jobs?cursor=50", "/dead-letters",
    "/dead-letters?error=timeout", "/schedules", "/workers", "/jobs/team-search/reviews-sentiment-2401",
    "/jobs/team-search/welcome-mail-2402", "/jobs/team-search/reviews-sentiment-2401/items/17",
)  # fmt: skip
SAME = {"Sec-Fetch-Site": "same-origin"}
NAMES_OF_BOB = re.compile(r"/jobs/billing/(?!nightly-export)")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_small_escaped_and_strict(client: httpx2.AsyncClient, path: str) -> None:
    sign(client, "admin")
    answer = await client.get(ROOT + path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    text = answer.text
    assert "<script>" not in text
    assert "<img" not in text
    assert re.findall(r"<script(?! src=\"[^\"]+\" defer></script>)", text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", re.sub(r">[^<]*<", "><", text)) == []
    loaded = sum(len(asset.packed) for asset in ASSETS.values() if asset.path in text)
    assert len(answer.content) + loaded <= 100_000


async def test_hostile_texts_are_shown_as_they_were_written(client: httpx2.AsyncClient) -> None:
    sign(client, "admin")
    page, item = (await client.get(RICH)).text, (await client.get(f"{RICH}/items/17")).text
    # the message of an error and its group, the id, the result, the event, the spec; an item's id and data
    assert page.count(html.escape(HOSTILE[:30]).replace("&#x27;", "&#39;")) >= 5
    assert html.unescape(item).count(HOSTILE) >= 1
    assert json.dumps(HOSTILE)[1:-1] in html.unescape(item)


async def test_a_query_is_given_back_escaped(client: httpx2.AsyncClient) -> None:
    sign(client, "alice")
    answer = await client.get(f"{ROOT}/jobs", params={"q": HOSTILE})
    assert "<script>" not in answer.text
    assert 'role="alert"' in answer.text


async def test_who_is_not_signed_in_comes_back_to_where_they_went(client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"{ROOT}/jobs?q=owner:alice")
    there = answer.headers["location"]
    assert (answer.status_code, there) == (303, f"{ROOT}/sign-in?next=%2Fadmin%2Fqueues%2Fjobs%3Fq%3Downer%3Aalice")
    assert 'value="/admin/queues/jobs?q=owner:alice"' in (await client.get(there)).text
    form = {"token": "alice", "next": f"{ROOT}/jobs?q=owner:alice"}
    answer = await client.post(f"{ROOT}/sign-in", data=form, headers=SAME)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}/jobs?q=owner:alice")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "secure", "samesite=lax", "path=/"))
    assert "domain" not in cookie


@pytest.mark.parametrize(
    ("token", "words"), [("", "Paste a token"), ("forged", "none that we trust"), ("x" * 4000, "browsers keep 3,800")]
)
async def test_a_token_that_is_none_is_said_at_the_form(client: httpx2.AsyncClient, token: str, words: str) -> None:
    answer = await client.post(f"{ROOT}/sign-in", data={"token": token}, headers=SAME)
    assert answer.status_code == 422
    assert words in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_token_that_has_ended_leads_to_the_form(client: httpx2.AsyncClient) -> None:
    sign(client, "ended")
    answer = await client.get(ROOT)
    assert answer.status_code == 303
    assert "max-age=0" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site", "Origin": "https://ui"},
     {"Sec-Fetch-Site": "none"}, {"Origin": "null"}, {"Origin": "https://evil.example"}, {"Origin": "https://ui.evil"}],
)  # fmt: skip
@pytest.mark.parametrize(
    "path", ["/sign-in", "/sign-out", "/jobs/bulk", "/queues/ai-batch", "/schedules/billing/nightly-export"]
)
async def test_a_form_of_another_site_does_nothing(
    client: httpx2.AsyncClient, world: World, path: str, headers: dict[str, str]
) -> None:
    sign(client, "admin")
    form = {"token": "admin", "action": "suspend", "job": "team-search.reviews-sentiment-2401", "sure": "1",
            "paused": "1", "suspend": "1"}  # fmt: skip
    answer = await client.post(ROOT + path, data=form, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert world.changes == []


async def test_a_browser_without_fetch_metadata_is_known_by_its_origin(client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"{ROOT}/sign-out", headers={"Origin": "https://ui"})
    assert answer.status_code == 303


async def test_an_owner_sees_and_touches_the_own_jobs_alone(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    for path in ("/jobs", "/jobs?q=owner:bob@example.com", "/dead-letters", "/schedules", ""):
        text = (await client.get(ROOT + path)).text
        assert "bob@example.com</td>" not in text
        assert not NAMES_OF_BOB.search(text)
        assert "weekly-report" not in text
    theirs = next(key for key, job in world.jobs.items() if job["spec"]["owner"] != ALICE)
    page = await client.get(f"{ROOT}/jobs/{theirs[0]}/{theirs[1]}")
    nowhere = await client.get(f"{ROOT}/jobs/{theirs[0]}/nobodys")
    assert (page.status_code, nowhere.status_code) == (404, 404)
    assert page.text.replace(theirs[1], "nobodys") == nowhere.text
    form = {"action": "cancel", "job": ".".join(theirs), "sure": "1", "typed": "cancel 1"}
    assert "or it is not yours" in (await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)).text
    for path, given in (("/queues/ai-batch", {"paused": "1"}), ("/schedules/billing/weekly-report", {"suspend": "1"})):
        assert (await client.post(ROOT + path, data=given, headers=SAME)).status_code in {403, 404}
    assert (await client.get(f"{ROOT}/workers")).status_code == 403
    assert world.changes == []


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"action": "explode"}, "action: explode was sent"),
        ({"action": "cancel", "job": "../../secrets"}, "job: what was sent"),
        ({"action": "cancel", "all": "1", "q": "statu:x"}, "q: There is no qualifier"),
        ({"action": "redrive", "class": "x"}, "class: x is none"),
    ],
)
async def test_a_form_that_makes_no_sense_is_a_page_that_says_so(
    client: httpx2.AsyncClient, form: dict[str, str], words: str
) -> None:
    sign(client, "admin")
    answer = await client.post(f"{ROOT}/jobs/bulk", data=form, headers=SAME)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert words in html.unescape(answer.text)


async def test_a_form_is_bounded(client: httpx2.AsyncClient) -> None:
    sign(client, "admin")
    answer = await client.post(f"{ROOT}/jobs/bulk", content=b"a" * 300_000, headers=SAME)
    assert answer.status_code == 413
    answer = await client.post(f"{ROOT}/jobs/bulk", content=b"a=b&" * 3000, headers=SAME)
    assert answer.status_code == 400


async def test_queues_and_schedules_are_paused_by_a_button(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "admin")
    await client.post(f"{ROOT}/queues/ai-batch", data={"paused": "1"}, headers=SAME)
    await client.post(f"{ROOT}/schedules/billing/office-hours", data={"suspend": "0"}, headers=SAME)
    assert world.changes == [
        ("patch", "BatchQueue", "None/ai-batch", '{"spec": {"paused": true}}'),
        (
            "patch",
            "BatchSchedule",
            "billing/office-hours",
            '{"metadata": {"uid": "uid-office-hours"}, "spec": {"suspend": false}}',
        ),
    ]
    assert (await client.post(f"{ROOT}/queues/ai-batch", data={}, headers=SAME)).status_code == 422


async def test_without_the_store_a_job_still_has_its_page(client: httpx2.AsyncClient, world: World) -> None:
    sign(client, "alice")
    world.store_error = StoreUnavailable("redis at 10.0.0.1 refused hunter2")
    page, jobs = await client.get(RICH), await client.get(f"{ROOT}/jobs")
    assert "The store does not answer: items and errors are left out" in page.text
    assert "7,610 of 12,000" in page.text
    assert (jobs.status_code, jobs.headers["retry-after"]) == (503, "5")
    assert "hunter2" not in page.text + jobs.text


@pytest.mark.parametrize("path", ["/jobs/a%3Fb/c", "/jobs/A/c", "/jobs/a/c%23d", "/jobs/n/..%3f"])
async def test_a_name_that_could_lead_elsewhere_is_refused(client: httpx2.AsyncClient, path: str) -> None:
    sign(client, "admin")
    assert (await client.get(ROOT + path)).status_code in {404, 422}


async def test_static_files_are_kept_for_ever_under_their_hash(client: httpx2.AsyncClient) -> None:
    for asset in ASSETS.values():
        answer = await client.get(asset.path)
        assert answer.content == asset.body
        assert "immutable" in answer.headers["cache-control"]
        again = await client.get(asset.path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await client.get(f"{ROOT}/static/app.0000000000000000.css")).status_code == 404
    assert len(ASSETS["app.js"].body) <= 10_000
