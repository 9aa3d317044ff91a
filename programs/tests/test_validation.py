from __future__ import annotations

import time

import pytest
from django.core.exceptions import ValidationError

from programs.definition.dependencies import check_no_circle

LAYERS = 40


def test_a_circle_is_named_from_end_to_end() -> None:
    requires = {"web": {"api", "files"}, "api": {"db"}, "files": set(), "db": {"web"}}
    with pytest.raises(ValidationError, match="web needs api needs db needs web"):
        check_no_circle("web", requires)


def test_a_circle_of_others_is_none_of_this_program() -> None:
    check_no_circle("web", {"web": {"api"}, "api": {"db"}, "db": {"api"}})


def test_many_ways_to_the_same_program_are_gone_once() -> None:
    """Forty layers of two, each needing both of the next: two to the power of forty ways."""
    requires = {f"{layer}{side}": {f"{layer + 1}a", f"{layer + 1}b"} for layer in range(LAYERS) for side in "ab"}
    begun = time.monotonic()
    check_no_circle("web", {"web": {"0a"}, **requires})
    assert time.monotonic() - begun < 1


def test_a_chain_may_be_longer_than_calls_go_deep() -> None:
    chain = {f"p{number}": {f"p{number + 1}"} for number in range(5000)}
    check_no_circle("p0", chain)
    with pytest.raises(ValidationError, match="p4999 needs p5000 needs p0"):
        check_no_circle("p0", {**chain, "p5000": {"p0"}})
