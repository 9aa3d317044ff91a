from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks


def mistakes() -> list[str]:
    return [message.msg for message in run_checks() if message.id == "monitor.E007"]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "monitor.example",
            "ftp://monitor.example",
            "https://",
            "https:///x",
            "https://me:secret@monitor.example",
        ),
        *("https://m.example/?a=b", "https://m.example/#x", "https://m.example:port", "https://m.example/a b"),
        *("javascript:alert(1)", "https://m.example/<b>", 'https://m.example/"', "https://[::1"),
    ],
)
def test_an_address_that_no_link_can_start_with_is_a_system_check(settings: Any, url: str) -> None:
    settings.PUBLIC_URL = url
    [found] = mistakes()
    assert "PUBLIC_URL" in found and "secret" not in found


@pytest.mark.parametrize(
    "url", ["", "https://monitor.example", "http://nas:8000", "http://[::1]:8000", "https://m.example/ops"]
)
def test_other_addresses_are_accepted(settings: Any, url: str) -> None:
    settings.PUBLIC_URL = url
    assert mistakes() == []
