"""A suggestion helps only when it is near to what was typed."""

from __future__ import annotations

import pytest

from core.suggest import did_you_mean


@pytest.mark.parametrize(
    ("typed", "known", "said"),
    [
        ("minecarft", ["web", "minecraft"], " Did you mean minecraft?"),
        ("hott", ["hot"], " Did you mean hot?"),
        ("progam.crashed", ["program.created", "program.crashed"], " Did you mean program.crashed?"),
        ("nope", ["ignore"], ""),
        ("db", ["web", "redis"], ""),
        ("web", [], ""),
    ],
)
def test_only_what_is_near_is_offered(typed: str, known: list[str], said: str) -> None:
    assert did_you_mean(typed, known) == said
