"""Chromium with a running monitor. Both live for one module, because later tests need their own event loop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .stack import PASSWORD, Stack

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("monitor"))
    try:
        stack.start()
        yield stack
    finally:
        stack.end()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and "CI" not in os.environ:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def passes() -> dict[str, Any]:
    """Cookies by role, so that each role logs in once."""
    return {}


@pytest.fixture
def visit(stack: Stack, chromium: Browser, passes: dict[str, Any]) -> Iterator[Visit]:
    """`visit("operate", "/admin/…")` opens a page with that role; the test fails if the page reports errors."""
    complaints: list[str] = []
    contexts = []
    expect.set_options(timeout=60_000)

    def go(role: str, path: str, *, width: int = 1400) -> Page:
        context = chromium.new_context(
            base_url=f"http://127.0.0.1:{stack.port}",
            viewport={"width": width, "height": 900},
            storage_state=passes.get(role),
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        if role not in passes:
            log_in(page, role)
            passes[role] = context.storage_state()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(path)
        return page

    yield go
    for context in contexts:
        context.close()
    # Tests take the server away; what the browser was to fetch then, its icon for one, is no fault of a page.
    ours = [text for text in complaints if "WebSocket connection" not in text and "CONNECTION_REFUSED" not in text]
    assert ours == [], (stack.data / "stderr").read_text()[-4000:]


def log_in(page: Page, role: str) -> None:
    page.goto("/admin/login/")
    page.fill("input[name=username]", role)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
