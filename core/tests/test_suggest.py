"""Only similar names are suggested."""

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
def test_only_similar_names_are_suggested(typed: str, known: list[str], said: str) -> None:
    assert did_you_mean(typed, known) == said
