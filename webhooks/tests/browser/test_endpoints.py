from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from programs.tests.browser.conftest import Visit
from programs.tests.browser.stack import Stack
from programs.tests.browser.test_live import CONTROLS, NAMELESS
from webhooks.tests.receiver import Receiver

pytestmark = pytest.mark.browser
LIST = "/admin/webhooks/webhookendpoint/"
TIMEOUT = 40_000  # ms, for a busy machine


def make(page: Page, name: str, url: str) -> None:
    """Creates an endpoint and opens its page."""
    page.goto(LIST + "add/")
    page.locator("[name=name]").fill(name)
    page.locator("[name=standard-url]").fill(url)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#signing-secret")).to_have_value(re.compile("^whsec_"))
    page.get_by_role("link", name="Continue to the endpoint").click()


def sent_test(page: Page, state: str) -> Locator:
    page.get_by_role("button", name="Send a test").click()
    result = page.locator("[data-test-result]")
    expect(result.locator(".delivery-progress")).to_have_attribute("data-state", state, timeout=TIMEOUT)
    return result


def test_an_endpoint_is_created_tested_and_its_delivery_shown(visit: Visit, receiver: Receiver) -> None:
    receiver.script("/hook", 200)
    page = visit("admin", LIST)
    make(page, "ops", receiver.url("/hook"))
    expect(sent_test(page, "delivered").locator(".attempt-facts")).to_contain_text("200")
    assert [one.json["type"] for one in receiver.at("/hook")] == ["webhook.test"]
    page.reload()
    page.locator(".delivery-table tbody a").first.click()
    expect(page.locator(".attempt h3")).to_contain_text("Attempt 1")
    page.get_by_text("Response", exact=True).click()
    expect(page.locator(".raw")).to_have_text("code 200")
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".attempt h3").nth(1)).to_contain_text("Manual", timeout=TIMEOUT)
    assert len({one.id for one in receiver.at("/hook")}) == 1


def test_a_failed_test_shows_the_error(visit: Visit, receiver: Receiver) -> None:
    page = visit("admin", LIST)
    make(page, "broken", receiver.script("/broken", 500))
    expect(sent_test(page, "failed")).to_contain_text("answered 500")


def test_another_format_shows_other_fields_and_a_preview_without_saving(stack: Stack, visit: Visit) -> None:
    page = visit("admin", LIST + "add/")
    chat = page.locator("[name=telegram-chat_id]")
    expect(page.locator("[name=standard-url]")).to_be_visible()
    expect(chat).to_be_hidden()
    page.locator("[name=format]").select_option("telegram")
    expect(page.locator("[name=standard-url]")).to_be_hidden()
    page.locator("[name=telegram-url]").fill("https://api.telegram.org/bot1234:T0P-SECRET")
    chat.fill("my chat")
    preview = page.get_by_role("button", name="Preview with the latest event")
    preview.click()
    expect(page.locator("[data-preview]")).to_contain_text("Chat: This does not have the required format")
    chat.fill("-100123")
    preview.click()
    expect(page.locator("[data-preview] .message-head")).to_be_visible()
    assert "T0P-SECRET" not in page.locator("[data-preview]").inner_text()
    assert stack.sql("SELECT count(*) FROM webhooks_webhookendpoint WHERE format = 'telegram'") == [(0,)]


def test_a_star_disables_the_types_it_covers(visit: Visit) -> None:
    page = visit("admin", LIST + "add/")
    areas = page.locator("[data-pattern-area]")
    expect(areas.first).not_to_have_class(re.compile("pattern-covered"))
    page.get_by_label("program.*").check()
    expect(areas.first).to_have_class(re.compile("pattern-covered"))
    page.get_by_label("program.*").uncheck()
    expect(areas.first).not_to_have_class(re.compile("pattern-covered"))


def test_the_next_window_is_shown_next_to_the_cron_field(visit: Visit) -> None:
    page = visit("operate", "/admin/webhooks/webhookmute/add/")
    cron = page.locator("[name=cron]")
    cron.fill("0 3 * * 0")
    expect(page.locator(".cron-note")).to_contain_text("next: Sun")
    cron.fill("0 3 * * 9")
    expect(page.locator(".cron-note")).to_contain_text("Not a cron expression")


def test_pages_fit_a_phone_and_every_control_has_a_name(stack: Stack, visit: Visit, receiver: Receiver) -> None:
    page = visit("admin", LIST, width=390)
    make(page, "phone", receiver.url("/phone"))
    sent_test(page, "delivered")
    own = page.url.split("change/")[0].removeprefix(f"http://127.0.0.1:{stack.port}")
    delivery = stack.sql("SELECT max(id) FROM webhooks_webhookdelivery")[0][0]
    pages = (
        *(LIST, f"{LIST}add/", f"{own}change/", f"{own}change/?#settings", f"{own}catch-up/?span=24"),
        *(f"{own}switch-on/", f"{own}rotate/", f"/admin/webhooks/webhookdelivery/{delivery}/change/"),
        *("/admin/webhooks/webhookdelivery/", "/admin/webhooks/webhookmute/", "/admin/webhooks/webhookmute/add/"),
    )
    for path in pages:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        nameless = page.locator(CONTROLS).evaluate_all(NAMELESS)
        assert nameless == [], path
