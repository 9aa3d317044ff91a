from __future__ import annotations

import os
import re
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from .installation import Installation, wait_until

PASSWORD = "correct horse battery"


@pytest.mark.browser
def test_a_browser_creates_the_administrator_with_the_link(installation: Installation) -> None:
    installation.start("manage.py", "serve", "--bind", "127.0.0.1:0")
    (link,) = wait_until(lambda: re.findall(r"http://\S+/setup/\S+/", installation.printed()))
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        if found is None and "CI" not in os.environ:
            pytest.skip("no Chromium on this machine")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(link)
        for password in ("short", PASSWORD):
            page.fill("input[name=username]", "ada")
            page.fill("input[name=password1]", password)
            page.fill("input[name=password2]", password)
            page.click("button[type=submit]")
            if password != PASSWORD:
                expect(page.get_by_text("too short")).to_be_visible()
        page.wait_for_url("**/admin/")
        page.goto(link)
        expect(page.get_by_text("This link is not valid")).to_be_visible()
        browser.close()
    assert installation.query("select username, is_superuser from auth_user") == [("ada", 1)]
