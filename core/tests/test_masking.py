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
def test_values_with_a_secret_name_are_masked(name: str) -> None:
    assert masked({name: "hunter2"}) == {name: MASK}


@pytest.mark.parametrize("name", ["token_prefix", "key", "tokenizer", "monkey", "compass", "passed"])
def test_values_with_other_names_are_not_masked(name: str) -> None:
    assert masked({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("empty", [None, "", {"set": True}, True, False])
def test_empty_values_and_set_flags_are_not_masked(empty: object) -> None:
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
def test_texts_that_look_like_secrets_are_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_printable_text_is_one_line() -> None:
    assert printable("a\nb\r\x1b[2J\x9b\tc") == "a b\ufffd\ufffd[2J\ufffd\tc"
