from __future__ import annotations

import pytest

from core.masking import MASK, mask_text, masked, printable


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "SECRET_KEY",
        "api-key",
        "csrftoken",
        "Authorization",
        "set-cookie",
        "accessToken",
    ],
)
def test_values_under_a_telling_name_are_blanked(name: str) -> None:
    assert masked({name: "hunter2"}) == {name: MASK}


@pytest.mark.parametrize("name", ["token_prefix", "key", "tokenizer", "monkey", "compass", "passed"])
def test_other_names_are_left_alone(name: str) -> None:
    assert masked({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("empty", [None, "", {"set": True}, True, False])
def test_that_there_is_a_secret_may_be_said(empty: object) -> None:
    assert masked({"secret": empty}) == {"secret": empty}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pm_1a2b3c4d_" + "A" * 43, f"pm_1a2b3c4d_{MASK}"),
        ("bearer abcdefghij", f"bearer {MASK}"),
        ("redis://:pw@h/0", f"redis://:{MASK}@h/0"),
        ("https://u:p%40w@h/x?y", f"https://u:{MASK}@h/x?y"),
        ("http://host:8000/path@2x", "http://host:8000/path@2x"),
        ("the bearer of news", "the bearer of news"),
    ],
)
def test_what_looks_like_a_secret_is_blanked_wherever_it_stands(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_a_text_is_made_to_fit_one_line() -> None:
    assert printable("a\nb\r\x1b[2J\x9b\tc") == "a b\ufffd\ufffd[2J\ufffd\tc"
