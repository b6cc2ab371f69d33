import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.ui_scene import build_scene
from tests.support.ui_server import serving
from tests.support.ui_world import World

ROOT = "/admin/queues"
PATIENCE_MS = 60_000  # the machine may be busy

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium (`make chromium`). Without a sandbox: tests run as root, and open pages of our own alone."""
    found = shutil.which("chromium")
    assert found, "there is no chromium: make test-ui installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def world() -> World:
    return build_scene()


@pytest.fixture
def address(world: World) -> Iterator[str]:
    with serving(world) as url:
        yield url + ROOT


@pytest.fixture
def expected_errors() -> list[str]:
    """Words of what the console may say in this test."""
    return []


@pytest.fixture
def open_page(browser: Browser, address: str, expected_errors: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens a page for somebody who has signed in by the form; what the console says fails the test."""
    said: list[str] = []
    contexts = []

    def signed_in(path: str = "", token: str = "admin", **given: Any) -> Page:
        context = browser.new_context(**given)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address + path)
        page.fill("#token", token)
        page.press("#token", "Enter")
        page.wait_for_url(lambda url: "sign-in" not in url)
        return page

    yield signed_in
    for context in contexts:
        context.close()
    assert [text for text in said if not any(words in text for words in expected_errors)] == []
