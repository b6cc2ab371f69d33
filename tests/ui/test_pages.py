"""The admin UI in Debian's Chromium: accessibility, keys, freshness, and that it works without JavaScript."""

import json
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.ui_scene import HOSTILE, POD
from tests.support.ui_world import World

Open = Callable[..., Page]
RICH = "/jobs/team-search/reviews-sentiment-2401"
LOG = f"{RICH}/pods/{POD}"
PAGES = (
    "",
    "/jobs",
    "/jobs?q=statu:x",
    "/jobs?q=zzz",
    RICH,
    f"{RICH}/items/17",
    "/dead-letters",
    "/schedules",
    "/workers",
    "/audit",
    "/audit?who=nobody-of-this-name",
    "/audit?strangers=1",
    LOG,
    "/jobs/team-search/nobodys",
)
WIDTHS = (1280, 400)
NOT_THERE = "404 (Not Found)"  # what the console says of the last of these
MOST_BYTES = 100_000  # of a page and all that it loads


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(
    open_page: Open, address: str, scheme: str, expected_errors: list[str]
) -> None:
    expected_errors.append(NOT_THERE)
    page = open_page(color_scheme=scheme)
    found: dict[tuple[str, str], object] = {}
    for path in PAGES:
        page.goto(address + path)
        for violation in Axe().run(page).response["violations"]:
            found[path, violation["id"]] = [node["html"][:200] for node in violation["nodes"][:3]]
    page.goto(address + "/jobs?q=status:running")
    page.keyboard.press("?")
    found |= {("keys", one["id"]): one["nodes"][0]["html"] for one in Axe().run(page).response["violations"]}
    page.keyboard.press("Escape")
    page.get_by_label("Select").first.check()
    page.keyboard.press("c")
    page.get_by_label("There is no way back.").wait_for()
    found |= {("confirm", one["id"]): one["nodes"][0]["html"] for one in Axe().run(page).response["violations"]}
    assert found == {}


def test_signing_in_breaks_none_either(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    assert Axe().run(page).response["violations"] == []
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_window(
    open_page: Open, address: str, width: int, expected_errors: list[str]
) -> None:
    expected_errors.append(NOT_THERE)
    page = open_page(viewport={"width": width, "height": 900})
    wide = {}
    for path in PAGES:
        page.goto(address + path)
        if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
            wide[path] = found
    assert wide == {}


def test_hostile_texts_are_texts(open_page: Open, address: str) -> None:
    page = open_page(f"{RICH}/items/17")
    opened = []
    page.on("dialog", lambda dialog: opened.append(dialog.message))
    expect(page.locator("h1")).to_have_text(HOSTILE)
    assert HOSTILE in json.loads(page.locator("#data").inner_text())["text"]
    page.goto(address + RICH)
    expect(page.locator("#spec")).to_contain_text(HOSTILE)
    assert opened == []
    assert page.locator("img").count() == 0


def test_everything_works_without_javascript(open_page: Open, world: World) -> None:
    page = open_page("/jobs", java_script_enabled=False)
    page.fill("#q", "reviews-sentiment-2401")
    page.get_by_role("button", name="Search").click()
    page.get_by_label("Select reviews-sentiment-2401").check()
    page.get_by_role("button", name="Suspend…").click()
    page.get_by_role("button", name="Suspend 1 BatchJob").click()
    page.wait_for_url(f"**{RICH}")
    assert [json.loads(one[3])["spec"] for one in world.changes] == [{"suspend": True}]


def test_what_a_browser_loads_is_small_and_strict(open_page: Open, address: str, expected_errors: list[str]) -> None:
    expected_errors.append(NOT_THERE)
    page = open_page()
    script = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
        .filter((one) => one.initiatorType !== "fetch").map((one) => [one.name, one.encodedBodySize])"""
    for path in PAGES:
        answer = page.goto(address + path)
        assert answer
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        loaded = dict(page.evaluate(script))
        assert {url.partition("/admin")[0] for url in loaded} == {address.partition("/admin")[0]}, "no other host"
        assert len(loaded) >= 4, "the page, its style and its scripts"
        assert min(loaded.values()) >= 0
        assert 20_000 < sum(loaded.values()) <= MOST_BYTES, (path, loaded)
