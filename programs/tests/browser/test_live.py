from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from programs.formatting import bytes_text, duration_text, percent_text

from .conftest import Visit
from .stack import Stack, wait_for

pytestmark = pytest.mark.browser
LIST = "/admin/programs/program/"
CONTROLS = "#main :is(button, input:not([type=hidden]), select, textarea):visible"

NAMELESS = """all => all.filter((e) => !(e.labels?.length || e.ariaLabel || e.placeholder || e.innerText.trim()))
    .map((e) => e.outerHTML)"""


def live(page: Page, name: str, program_id: int) -> Any:
    return page.locator(f'[data-live="{name}"][data-program="{program_id}"]')


def test_the_list_shows_a_restart_without_reload(stack: Stack, visit: Visit) -> None:
    page = visit("read", LIST)
    ticker = stack.id_of("ticker")
    expect(page.locator("[data-connection]")).to_have_text("Live")
    before = int(live(page, "restarts", ticker).inner_text())
    page.evaluate("window.isStillHere = true")
    os.killpg(stack.pid_of("ticker"), signal.SIGKILL)
    expect(live(page, "restarts", ticker)).to_have_text(str(before + 1))
    expect(live(page, "state", ticker)).to_have_text("running")
    assert page.evaluate("window.isStillHere")


def test_a_button_acts_without_leaving_the_page(stack: Stack, visit: Visit) -> None:
    page = visit("operate", LIST)
    echo = stack.id_of("echo")
    stop, start = (page.locator(f'[data-verb="{verb}"][data-program="{echo}"]') for verb in ("stop", "start"))
    expect(start).to_be_disabled()
    stop.click()
    expect(page.locator(".toast")).to_have_text("Stop of echo requested.")
    expect(live(page, "state", echo)).to_have_text("stopped")
    expect(page.locator('[data-count="running"] b')).to_have_text("1")
    start.click()
    expect(live(page, "state", echo)).to_have_text("running")
    expect(start).to_be_disabled()


def test_log_lines_are_live_and_can_be_paused_and_searched(stack: Stack, visit: Visit) -> None:
    page = visit("read", f"{LIST}{stack.id_of('ticker')}/change/")
    lines = page.locator(".log-line")
    expect(lines.first).to_contain_text("tick")
    seen = lines.count()
    wait_for(lambda: lines.count() > seen)
    page.get_by_role("button", name="Pause").click()
    held = lines.count()
    page.wait_for_timeout(700)
    assert lines.count() == held
    page.get_by_role("button", name="Resume").click()
    wait_for(lambda: lines.count() > held)
    page.get_by_role("searchbox").fill("TICK 3")
    page.keyboard.press("Enter")
    expect(page.locator("[data-log-note]")).to_contain_text("contain “TICK 3”")
    assert {text[:6] for text in page.locator(".log-line span").all_inner_texts()} == {"tick 3"}


def test_a_line_typed_into_the_console_reaches_the_program(stack: Stack, visit: Visit) -> None:
    page = visit("operate", f"{LIST}{stack.id_of('echo')}/change/")
    expect(live(page, "state", stack.id_of("echo"))).to_have_text("running")
    page.get_by_label("Console").fill("good <b>morning</b>")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".log-line").last).to_contain_text("you said good <b>morning</b>")
    expect(page.locator("[data-activity]")).to_contain_text("program.input")


def test_a_viewer_sees_no_buttons(stack: Stack, visit: Visit) -> None:
    page = visit("read", f"{LIST}{stack.id_of('echo')}/change/")
    expect(page.locator("[data-connection]")).to_have_text("Live")
    for button in ("Stop", "Start", "Restart", "Kill", "Send", "Save"):
        assert page.get_by_role("button", name=button, exact=True).count() == 0
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_text("read line; while true").last).to_be_visible()


def test_the_page_reconnects_after_a_restart_of_the_web_server(stack: Stack, visit: Visit) -> None:
    page = visit("read", LIST)
    connection = page.locator("[data-connection]")
    expect(connection).to_have_text("Live")
    stack.kill_web()
    expect(connection).to_have_text("Connection lost. Reconnecting…")
    stack.start_web(stack.port)
    expect(connection).to_have_text("Live")


def test_rows_can_be_added_moved_and_removed_and_show_errors(stack: Stack, visit: Visit) -> None:
    page = visit("admin", f"{LIST}{stack.id_of('ticker')}/change/#settings")
    page.get_by_role("button", name="Add a variable").click()
    page.locator("[name=environment-0-name]").fill("1WRONG")
    page.get_by_role("button", name="Add a step").click()
    page.locator("[name=stop_ladder-1-argument]").fill("INT")
    page.get_by_role("button", name="Move up").last.click()
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator(".row-error")).to_contain_text("isn't a variable name")
    page.locator('[data-rows="environment"]').get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_text("In effect now: Stop steps.")).to_be_visible()
    ladder = stack.sql("SELECT stop_ladder FROM programs_program WHERE name = 'ticker'")[0][0]
    assert ladder.index("signal:INT") < ladder.index("signal:TERM")


def test_pages_fit_a_phone_and_every_control_has_a_name(stack: Stack, visit: Visit) -> None:
    page = visit("admin", LIST, width=390)
    own = f"{LIST}{stack.id_of('echo')}/"
    for path in (LIST, f"{own}change/", f"{own}change/?#settings", f"{own}history/", f"{LIST}adopt/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        nameless = page.locator(CONTROLS).evaluate_all(NAMELESS)
        assert nameless == [], path


def test_all_buttons_of_a_row_are_visible_on_a_small_laptop(stack: Stack, visit: Visit) -> None:
    page = visit("operate", LIST, width=1280)
    page.evaluate(
        """() => {
            const widest = {"cpu": "99.9 %", "memory": "999 MB", "uptime": "23h 59m"};
            for (const [name, text] of Object.entries(widest))
                for (const cell of document.querySelectorAll(`[data-live="${name}"]`)) cell.textContent = text;
        }"""
    )
    kill = page.locator(f'[data-verb="kill"][data-program="{stack.id_of("echo")}"]')
    table = page.locator("#result_list").evaluate("table => table.parentElement.getBoundingClientRect().right")
    assert kill.evaluate("button => button.getBoundingClientRect().right") <= table
    assert table <= 1280


def test_a_very_long_command_does_not_hide_the_buttons(stack: Stack, visit: Visit) -> None:
    page = visit("operate", f"{LIST}{stack.id_of('echo')}/change/")
    page.locator("code.command").first.evaluate("code => { code.textContent = 'x'.repeat(10000); }")
    expect(page.locator('[data-verb="stop"]').first).to_be_in_viewport(timeout=5000)


def test_the_browser_formats_numbers_like_the_server(visit: Visit) -> None:
    page = visit("read", LIST)
    numbers = [0, 1, 59, 60, 99.95, 1023, 1536, 3600, 86_399, 86_430, 90_061, 10**7, 10**12]
    written = page.evaluate(
        """async (numbers) => {
            const { bytes, duration, percent } = await import("/static/monitor/format.js");
            return numbers.map((number) => [bytes(number), duration(number), percent(number)]);
        }""",
        numbers,
    )
    assert written == [[bytes_text(n), duration_text(n), percent_text(n)] for n in numbers]
