"""The pages by keys alone."""

import json
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.support.ui_world import World

Open = Callable[..., Page]
RICH = "/jobs/team-search/reviews-sentiment-2401"


def test_keys_alone_find_redrive_and_cancel(open_page: Open, world: World) -> None:
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
    expect(page.get_by_role("button", name="Redrive 1 BatchJob")).to_be_focused()
    press("Enter")
    page.wait_for_url("**/jobs/team-search/reviews-sentiment-2401-redrive-*")
    assert [one[0] for one in world.changes] == ["create"]
    press("/")
    page.wait_for_url("**/jobs")
    press("/")
    page.keyboard.type("reviews-sentiment-2401")
    press("Enter")
    page.wait_for_url("**q=reviews-sentiment-2401")
    press("j")
    press("Enter")
    page.wait_for_url(f"**{RICH}")
    press("c")
    expect(page.get_by_label("There is no way back.")).to_be_focused()
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
