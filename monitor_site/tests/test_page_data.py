"""Texts of the scripts: all come from the server, and the server sends none that no script shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from core.access import Role, set_role
from monitor_site.page_data import TEXTS

SCRIPTS = sorted((settings.BASE_DIR / "static" / "monitor").rglob("*.js"))
USED = re.compile(r'\btext\(\s*"([\w.]+)"')
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
SENTENCE = re.compile(r"[A-Za-z]{2,},? [a-z]{2,}|^[A-Z][a-z]+[.…]?$")
# Names of keys on the keyboard and of HTTP headers, selectors, class lists and messages for programmers.
NOT_SHOWN = re.compile(
    r"^(Arrow\w+|Home|End|Escape|Accept|no (text|value|element|unit) .*|toast toast-.*"
    r"|[.#\[:].*|[\w-]+(:not)?[(\[].*)$"
)


def used_keys() -> set[str]:
    return {key for script in SCRIPTS for key in USED.findall(script.read_text())}


def literals(script: Path) -> Iterator[str]:
    for quoted, template in LITERAL.findall(COMMENT.sub("", script.read_text())):
        yield quoted or re.sub(r"\$\{.*?\}", "", template)


def test_scripts_use_exactly_the_texts_that_the_server_sends() -> None:
    assert used_keys() == TEXTS.keys()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_holds_a_text_of_its_own(script: Path) -> None:
    found = [one for one in literals(script) if SENTENCE.search(one) and not NOT_SHOWN.match(one)]
    assert found == []


@pytest.mark.django_db
def test_pages_carry_texts_and_units(client: Client) -> None:
    user = User.objects.create_user("vera")
    set_role(user, Role.READ)
    client.force_login(user)
    page = client.get("/admin/programs/program/").content.decode()
    script = re.search(r'<script id="page-data" type="application/json">(.*?)</script>', page)
    assert script is not None
    data = json.loads(script[1])
    assert data["texts"] == {key: str(text) for key, text in TEXTS.items()}
    assert data["duration_units"][-1] == [1, "s"]


@pytest.mark.django_db
def test_a_stranger_gets_no_texts(client: Client) -> None:
    assert "page-data" not in client.get("/admin/login/").content.decode()
