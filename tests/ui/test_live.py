"""Pages that read themselves again when something happens, and what stays as it was while they do."""

from collections.abc import Callable
from itertools import pairwise

import msgspec
from playwright.sync_api import Page, expect

from batchjob.errors import StoreUnavailable
from tests.support.ui_world import ALICE, World

Open = Callable[..., Page]
NAME = "team-search.reviews-sentiment-2401"
RICH = "/jobs/team-search/reviews-sentiment-2401"


def to_be_live(page: Page) -> None:
    """Until the stream is there, and the page has caught up once."""
    expect(page.locator("#fresh")).to_have_text("Live", timeout=60_000)


def test_progress_moves_by_itself_and_what_somebody_did_stays(open_page: Open, world: World) -> None:
    page = open_page("/jobs?q=-queue:email", viewport={"width": 1280, "height": 500})
    to_be_live(page)
    page.get_by_text("Words of a search").click()
    page.get_by_label("Select reviews-sentiment-2401").check()
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.href")
    assert focused
    page.evaluate("scrollTo({top: 300, behavior: 'instant'}); window.kept = document.querySelector('tbody tr')")
    page.wait_for_function("scrollY === 300")
    world.rows[0] = msgspec.structs.replace(world.rows[0], phase="Cancelled")
    world.live.tell(ALICE, NAME)
    expect(page.locator("tbody tr").first).to_contain_text("Cancelled", timeout=20_000)
    assert page.evaluate("scrollY") == 300
    assert page.evaluate("window.kept === document.querySelector('tbody tr')"), "the same row of the same document"
    expect(page.locator("tbody")).not_to_contain_text("welcome-mail-2402")  # and the same search
    assert page.evaluate("document.activeElement.href") == focused
    expect(page.get_by_label("Select reviews-sentiment-2401")).to_be_checked()
    expect(page.locator("button[value=cancel]")).to_have_text("Cancel 1…")
    assert page.locator("details.hint").get_attribute("open") is not None


def test_a_burst_of_events_is_one_look_a_second(open_page: Open, world: World) -> None:
    page = open_page(RICH, token="alice")
    to_be_live(page)
    for _ in range(60):
        world.live.tell(ALICE, NAME)
        page.wait_for_timeout(50)
    page.wait_for_timeout(1200)
    script = "performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch').map(e => e.startTime)"
    asked = page.evaluate(script)
    assert len(asked) >= 2, "when the stream came, and for the burst"
    between = [later - earlier for earlier, later in pairwise(asked)]
    assert min(between) > 800, between  # it looks at the clock every 250 ms: a second, and never 750 ms


def test_a_tab_that_nobody_sees_asks_nothing_and_catches_up(open_page: Open, world: World) -> None:
    page = open_page(RICH, token="alice")
    to_be_live(page)
    page.evaluate("""() => {
        window.seen = false;
        Object.defineProperty(document, "hidden", { get: () => !window.seen });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.wait_for_timeout(600)  # the look that was on its way
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    world.jobs["team-search", "reviews-sentiment-2401"]["status"]["phase"] = "Finalizing"
    world.live.tell(ALICE, NAME)
    page.wait_for_timeout(1500)
    assert asked == []
    page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("h1 + .state")).to_have_text("Finalizing", timeout=20_000)


def test_without_the_stream_a_page_looks_by_itself(open_page: Open, world: World) -> None:
    page = open_page("/sign-in")
    page.route("**/live*", lambda route: route.fulfill(status=204))
    page.goto(page.url.removesuffix("/sign-in") + RICH)
    expect(page.locator("#fresh")).to_have_text("Every 5 s", timeout=20_000)
    world.jobs["team-search", "reviews-sentiment-2401"]["status"]["phase"] = "Finalizing"
    expect(page.locator("h1 + .state")).to_have_text("Finalizing", timeout=30_000)


def test_what_cannot_be_read_again_stays_and_is_said_to_be_old(
    open_page: Open, world: World, expected_errors: list[str]
) -> None:
    page = open_page("/jobs", token="alice")
    to_be_live(page)
    expected_errors.append("503")
    world.store_error = StoreUnavailable("away")
    world.live.tell(ALICE, NAME)
    expect(page.locator("#fresh")).to_contain_text("Not fresh: no answer (503), trying again", timeout=20_000)
    assert page.locator("tbody tr").count() > 10
    world.store_error = None
    to_be_live(page)


def test_who_signed_out_elsewhere_is_asked_to_sign_in(open_page: Open, world: World) -> None:
    page = open_page("/jobs", token="alice")
    to_be_live(page)
    page.context.clear_cookies()
    world.live.tell(ALICE, NAME)
    page.wait_for_url("**/sign-in?next=*")
