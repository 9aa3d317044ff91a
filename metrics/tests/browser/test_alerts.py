"""Alert rules in a browser: entered, backtested, saved and firing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from programs.tests.browser.conftest import Visit
from programs.tests.browser.stack import Stack
from programs.tests.browser.test_live import CONTROLS, NAMELESS

pytestmark = pytest.mark.browser
RULES, ALERTS = "/admin/metrics/alertrule/", "/admin/metrics/alert/"


def test_a_rule_is_entered_backtested_and_saved_and_fires(stack: Stack, visit: Visit) -> None:
    page = visit("admin", RULES + "add/")
    threshold = page.locator("div:has(> [name=threshold])")
    expect(threshold).to_contain_text("%")
    page.locator("[name=metric]").select_option("memory_bytes")
    expect(threshold).to_contain_text("MB")
    page.locator("[name=metric]").select_option("threads")
    expect(threshold).to_have_text("")
    page.locator("[name=threshold]").fill("0")
    page.get_by_role("button", name="Test on the last 7 days").click()
    expect(page.locator("[data-preview]")).to_contain_text("Threads above 0 over 5m")
    assert stack.sql("SELECT count(*) FROM metrics_alertrule") == [(0,)]
    page.locator("[name=name]").fill("it runs")
    page.locator("[name=window_seconds]").fill("10s")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text("Threads above 0 over 10s")
    page.goto(f"/admin/programs/program/{stack.id_of('ticker')}/change/")
    expect(page.locator("[data-activity]")).to_contain_text("alert.firing")
    page.reload()
    expect(page.locator(".program-head .notice")).to_contain_text("it runs")


def test_pages_fit_a_phone_and_every_control_has_a_name(stack: Stack, visit: Visit) -> None:
    page = visit("admin", RULES + "add/", width=390)
    page.locator("[name=name]").fill("for the phone")
    page.locator("[name=threshold]").fill("5000")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text("for the phone")
    made = stack.sql("SELECT max(id) FROM metrics_alertrule")[0][0]
    for path in (RULES, f"{RULES}add/", f"{RULES}{made}/change/", f"{RULES}{made}/try/", ALERTS):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert page.locator(CONTROLS).evaluate_all(NAMELESS) == [], path
        title = page.locator("h1 > :visible")
        assert title.count() == 1 and title.evaluate("part => part.scrollWidth <= part.clientWidth"), path
