from __future__ import annotations

import time

import pytest
from django.core.exceptions import ValidationError

from programs.definition.dependencies import check_no_circle

LAYERS = 40


def test_a_circular_dependency_is_shown_with_its_path() -> None:
    requires = {"web": {"api", "files"}, "api": {"db"}, "files": set(), "db": {"web"}}
    with pytest.raises(ValidationError, match="web needs api needs db needs web"):
        check_no_circle("web", requires)


def test_a_circle_of_other_programs_is_ignored() -> None:
    check_no_circle("web", {"web": {"api"}, "api": {"db"}, "db": {"api"}})


def test_each_program_is_visited_once_however_many_paths_lead_there() -> None:
    """Forty layers of two programs, each depending on both of the next layer: 2⁴⁰ paths."""
    requires = {f"{layer}{side}": {f"{layer + 1}a", f"{layer + 1}b"} for layer in range(LAYERS) for side in "ab"}
    begun = time.monotonic()
    check_no_circle("web", {"web": {"0a"}, **requires})
    assert time.monotonic() - begun < 1


def test_a_chain_may_be_longer_than_the_recursion_limit() -> None:
    chain = {f"p{number}": {f"p{number + 1}"} for number in range(5000)}
    check_no_circle("p0", chain)
    with pytest.raises(ValidationError, match="p4999 needs p5000 needs p0"):
        check_no_circle("p0", {**chain, "p5000": {"p0"}})
