"""The pages about the API in a browser: accessible in light and dark, no wider than the window, without JavaScript."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

PATHS = ("/docs", "/docs/schemas")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_about_the_api_breaks_a_rule_of_accessibility(browser: Browser, address: str, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 400, "height": 900})  # type: ignore[arg-type]
    page.set_default_timeout(120_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for path in PATHS:
        page.goto(address.replace("/admin/queues", path))
        found = {
            one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
            for one in Axe().run(page).response["violations"]
        }
        assert (path, found) == (path, {})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()
    assert said == []


def test_the_footer_leads_there_and_anchors_lead_on_without_javascript(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address + "/sign-in")
    page.get_by_role("link", name="HTTP API").click()
    page.get_by_role("link", name="POST /api/v1/batch-jobs", exact=True).first.click()
    expect(page.locator("#post-api-v1-batch-jobs")).to_be_in_viewport()
    page.locator("#post-api-v1-batch-jobs").get_by_role("link", name="BatchJobRequest").click()
    expect(page.locator("#BatchJobRequest h2")).to_be_in_viewport()
    context.close()
