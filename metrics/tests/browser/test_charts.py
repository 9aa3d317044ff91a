"""Charts and sparklines in a browser, with a monitor that samples real programs."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocket, expect

from programs.tests.browser.conftest import Visit
from programs.tests.browser.stack import Stack, wait_for

pytestmark = pytest.mark.browser
LIST = "/admin/programs/program/"
PATIENCE = 120.0
LIVE = "[data-charts-connection]"
CPU = '[data-chart="cpu_percent"]'
SUMMARY = re.compile(r"Average [\d.]+ %, highest [\d.]+ % at (\w+ \d+ )?\d\d:\d\d|Constant [\d.]+ %")
DRAWN = """figure => Chart.getChart(figure.querySelector("canvas")).data.datasets[0].data
    .filter(({ y }) => y !== null)"""


def page_of(stack: Stack, name: str, query: str = "") -> str:
    return f"{LIST}{stack.id_of(name)}/change/{query}"


def drawn(page: Page) -> list[dict[str, float]]:
    """The averages in the CPU chart."""
    points: list[dict[str, float]] = page.locator(CPU).evaluate(DRAWN)
    return points


def frames(page: Page) -> list[tuple[str, Any]]:
    """The messages that chart websockets receive from now on, with their URLs."""
    seen: list[tuple[str, Any]] = []

    def note(opened: WebSocket) -> None:
        if "/metrics/" in opened.url:
            opened.on("framereceived", lambda text: seen.append((opened.url, json.loads(text))))

    page.on("websocket", note)
    return seen


def test_a_chart_of_a_running_program_updates_without_polling(stack: Stack, visit: Visit) -> None:
    page = visit("read", LIST)
    received, asked = frames(page), []
    page.on("request", lambda request: asked.append(request.url) if "/api/metrics/" in request.url else None)
    page.goto(page_of(stack, "ticker", "?range=15m"))
    expect(page.locator(LIVE)).to_have_text("Live")
    expect(page.locator(f"{CPU} [data-chart-summary]")).to_have_text(SUMMARY, timeout=PATIENCE * 1000)
    before = drawn(page)
    assert before
    wait_for(lambda: drawn(page)[-1] != before[-1] and len(drawn(page)) > len(before), PATIENCE)
    assert {message["type"] for _, message in received} == {"history", "points"}
    assert len(asked) == 1


def test_another_range_is_shown_and_stored_in_the_url(stack: Stack, visit: Visit) -> None:
    page = visit("read", page_of(stack, "ticker"))
    expect(page.get_by_role("button", name="1 h", exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="7 d").click()
    page.get_by_role("button", name="95th percentile").click()
    expect(page).to_have_url(re.compile(r"range=7d&p95=1"))
    page.reload()
    expect(page.get_by_role("button", name="7 d")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(f"{CPU} [data-chart-summary]")).to_have_text(SUMMARY, timeout=PATIENCE * 1000)
    page.get_by_role("button", name="Threads and files").click()
    expect(page.locator('[data-chart="open_files"] [data-chart-summary]')).to_have_text(re.compile("\\d"))
    expect(page.locator(CPU)).to_be_hidden()


def test_a_crash_is_marked_at_once(stack: Stack, visit: Visit) -> None:
    page = visit("read", page_of(stack, "ticker"))
    expect(page.locator(LIVE)).to_have_text("Live")
    os.killpg(stack.pid_of("ticker"), signal.SIGKILL)
    marks = page.locator("[data-charts-events]")
    expect(marks).to_contain_text(re.compile(r"crashed \d+"))
    expect(marks).to_contain_text("restarted")
    page.reload()
    expect(marks).to_contain_text("crashed")


def test_a_lost_connection_resumes_from_the_newest_point(stack: Stack, visit: Visit) -> None:
    page = visit("read", LIST)
    received = frames(page)
    page.goto(page_of(stack, "ticker"))
    wait_for(lambda: page.locator(LIVE).inner_text() == "Live" and len(drawn(page)) > 0, PATIENCE)
    newest = drawn(page)[-1]["x"]
    stack.kill_web()
    expect(page.locator(LIVE)).to_have_text("Connection lost. Reconnecting…")
    received.clear()
    stack.start_web(stack.port)
    wait_for(lambda: page.locator(LIVE).inner_text() == "Live" and len(received) > 0, PATIENCE)
    address, message = received[0]
    since = int(address.split("since=")[1].split("&")[0])
    assert since >= newest
    assert (message["type"], message["start"]) == ("history", since)


def test_an_error_is_shown_and_can_be_retried(stack: Stack, visit: Visit) -> None:
    page = visit("read", page_of(stack, "ticker"))
    expect(page.locator(LIVE)).to_have_text("Live")
    page.evaluate("() => { window.kept = fetch; window.fetch = () => Promise.reject(new Error('no answer')); }")
    page.get_by_role("button", name="24 h").click()
    expect(page.get_by_role("alert")).to_contain_text("Could not load the history: The monitor does not respond")
    page.evaluate("() => { window.fetch = window.kept; }")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_arrow_keys_move_through_the_points(stack: Stack, visit: Visit) -> None:
    page = visit("read", page_of(stack, "ticker"))
    wait_for(lambda: page.locator(LIVE).inner_text() == "Live" and len(drawn(page)) > 0, PATIENCE)
    canvas = page.locator(f"{CPU} canvas")
    assert "%" in (canvas.get_attribute("aria-label") or "")
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-charts-said]")).to_have_text(re.compile(r"\d\d:\d\d:\d\d, average [\d.]+ %"))


def test_the_list_shows_live_sparklines(stack: Stack, visit: Visit) -> None:
    page = visit("read", LIST)
    line = page.locator(f'[data-sparkline="{stack.id_of("ticker")}"]')
    expect(line).to_have_attribute("title", re.compile("CPU: average .*; memory: average"))
    before = line.get_attribute("title")
    wait_for(lambda: line.get_attribute("title") != before, PATIENCE)
    assert (line.locator("path").get_attribute("d") or "").startswith("M")


def test_the_front_page_shows_the_host(visit: Visit) -> None:
    page = visit("read", "/admin/")
    expect(page.locator(LIVE)).to_have_text("Live")
    expect(page.locator(f"{CPU} [data-chart-summary]")).to_have_text(SUMMARY, timeout=PATIENCE * 1000)
    page.get_by_role("button", name="Disk and network").click()
    network = page.locator('[data-chart="network_received_bytes_per_second,network_sent_bytes_per_second"]')
    expect(network.locator("[data-chart-summary]")).to_contain_text("Received")


def test_charts_fit_a_phone(stack: Stack, visit: Visit) -> None:
    page = visit("read", LIST, width=390)
    for path in (LIST, page_of(stack, "ticker", "?show=storage"), "/admin/", "/admin/metrics/recordedprogram/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
