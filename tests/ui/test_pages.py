"""The admin UI in Debian's Chromium: accessibility, keys, freshness, and that it works without JavaScript."""

import json
from collections.abc import Callable

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.ui_scene import HOSTILE
from tests.support.ui_world import World

Open = Callable[..., Page]
RICH = "/jobs/team-search/reviews-sentiment-2401"
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
)
WIDTHS = (1280, 400)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(open_page: Open, address: str, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    found = {}
    for path in PAGES:
        page.goto(address + path)
        for violation in Axe().run(page).response["violations"]:
            found[path, violation["id"]] = [node["html"][:200] for node in violation["nodes"][:3]]
    page.goto(address + "/jobs?q=status:running")
    page.keyboard.press("?")
    found |= {("keys", one["id"]): one["nodes"][0]["html"] for one in Axe().run(page).response["violations"]}
    assert found == {}


def test_signing_in_breaks_none_either(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    assert Axe().run(page).response["violations"] == []
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_window(open_page: Open, address: str, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    wide = {}
    for path in PAGES:
        page.goto(address + path)
        if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
            wide[path] = found
    assert wide == {}


def test_keys_alone_find_redrive_and_cancel(open_page: Open, address: str, world: World) -> None:
    page = open_page("/jobs", token="alice")
    press = page.keyboard.press
    press("/")
    page.keyboard.type("reviews-sentiment-2401")
    press("Enter")
    page.wait_for_url("**q=reviews-sentiment-2401")
    press("j")
    expect(page.locator("a.row").first).to_be_focused()
    press("x")
    expect(page.get_by_role("button", name="Redrive 1…")).to_be_enabled()
    press("r")
    button = page.get_by_role("button", name="Redrive 1 BatchJob")
    button.focus()
    press("Enter")
    page.wait_for_url("**/jobs/team-search/reviews-sentiment-2401-redrive-*")
    assert [one[0] for one in world.changes] == ["create"]
    page.goto(address + RICH)
    press("c")
    field = page.get_by_label("There is no way back.")
    field.focus()
    page.keyboard.type("cancel 1")
    press("Enter")
    page.wait_for_url(f"**{RICH}")
    assert (world.changes[1][2], json.loads(world.changes[1][3])["spec"]) == (
        "team-search/reviews-sentiment-2401",
        {"cancel": True},
    )


def test_keys_lead_from_page_to_page(open_page: Open) -> None:
    page = open_page("/jobs")
    for keys, path in (("gd", "dead-letters"), ("gs", "schedules"), ("gw", "workers"), ("gj", "jobs"), ("q", "queues")):
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_url(f"**/{path}")


def test_buttons_say_how_many_they_are_for(open_page: Open) -> None:
    page = open_page("/jobs")
    cancel = page.locator("button[value=cancel]")
    expect(cancel).to_be_disabled()
    for box in page.locator('input[name="job"]').all()[:3]:
        box.check()
    expect(cancel).to_have_text("Cancel 3…")
    page.get_by_label("all that the search finds").check()
    expect(cancel).to_have_text("Cancel all…")


def test_progress_moves_by_itself_and_focus_selection_and_what_was_opened_stay(open_page: Open, world: World) -> None:
    page = open_page("/jobs?q=-queue:email")
    page.get_by_text("Words of a search").click()
    page.keyboard.press("j")
    page.keyboard.press("j")
    row = page.locator("a.row").nth(1)
    expect(row).to_be_focused()
    page.evaluate("window.kept = true")
    world.rows[0] = msgspec.structs.replace(world.rows[0], phase="Cancelled")
    expect(page.locator("tbody tr").first).to_contain_text("Cancelled")
    assert page.evaluate("window.kept")  # the same document
    expect(page.locator("tbody")).not_to_contain_text("welcome-mail-2402")  # and the same search
    expect(row).to_be_focused()
    assert page.locator("details.hint").get_attribute("open") is not None


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


def test_what_a_browser_loads_is_small(open_page: Open, address: str) -> None:
    page = open_page()
    loaded: list[int] = []
    page.on("requestfinished", lambda request: loaded.append(request.sizes()["responseBodySize"]))
    page.goto(address + "/jobs", wait_until="networkidle")
    assert 0 < sum(loaded) <= 100_000
