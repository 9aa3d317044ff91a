from __future__ import annotations

import json
import random

import pytest

from core.masking import MASK
from core.secret_mask import HideAll, SecretMask

PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n kqhkiG9w0BAQEF==\n}\n-----END KEY-----"


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("hunter2", "a hunter2 and hunter2!", f"a {MASK} and {MASK}!"),
        ("x", "x is short", f"{MASK} is short"),
        ("", "nothing", "nothing"),
        (" padded ", "is padded here", f"is {MASK} here"),
        (PEM, PEM, f"{MASK}\n{MASK}\n {MASK}\n}}\n{MASK}"),
        (PEM, "key kqhkiG9w0BAQEF== {}", f"key {MASK} {{}}"),
        ("a/b c@d", "redis://:a%2Fb%20c%40d@host", f"redis://:{MASK}@host"),
        ('say "hi"', '{"key": "say \\"hi\\""}', f'{{"key": "{MASK}"}}'),
        ("pässword", '"p\\u00e4ssword" pässword', f'"{MASK}" {MASK}'),
        ("be\x07ll", "the bell", f"the {MASK}"),
    ],
)
def test_a_secret_is_masked_in_each_form_that_programs_print(secret: str, text: str, shown: str) -> None:
    assert SecretMask([secret]).apply(text) == shown


@pytest.mark.parametrize("joint", ["\\n", "\n", "\\r\\n"])
def test_a_key_that_is_stored_in_one_line_or_in_json_is_masked_when_it_is_printed_in_lines(joint: str) -> None:
    lines = ["-----BEGIN KEY-----", "MIIEvQIBADANBgkqhkiG9w0", "BAQEFAASCBKcwggSjAgEAAo"]
    for secret in (joint.join(lines), json.dumps({"type": "x", "key": joint.join(lines)}, indent=2)):
        assert SecretMask([secret]).apply("\n".join(lines)) == "\n".join([MASK] * 3)


def test_the_password_of_a_url_is_masked_alone() -> None:
    mask = SecretMask(["postgres://bob:p%40ssword@db/app"])
    assert mask.apply("bob uses p@ssword or p%40ssword at db") == f"bob uses {MASK} or {MASK} at db"


def test_secrets_that_overlap_or_contain_each_other_leave_no_rest() -> None:
    assert SecretMask(["abcd", "cdef", "bc"]).apply("<abcdef> <bc>") == f"<{MASK}> <{MASK}>"
    assert SecretMask(["aba"]).apply("ababa abababab") == f"{MASK} {MASK}b"


def test_parts_of_a_secret_are_masked_at_cuts_only() -> None:
    mask = SecretMask(["hunter2-secret"])
    assert mask.apply("secret hunter2") == "secret hunter2"
    assert mask.apply("secret hunter2", starts_cut=True) == f"{MASK} hunter2"
    assert mask.apply("secret hunter2", ends_cut=True) == f"secret {MASK}"
    assert mask.apply("nter2-sec", starts_cut=True, ends_cut=True) == MASK
    assert mask.apply("et hu", starts_cut=True, ends_cut=True) == "et hu"


def test_no_cut_of_a_text_reveals_more_than_two_characters_of_a_secret() -> None:
    secret = "hunter2-secret"
    mask = SecretMask([secret])
    for at in range(3, len(secret) + 1):
        assert secret[:3] not in mask.apply(f"is {secret[:at]}", ends_cut=True)
        assert secret[-3:] not in mask.apply(f"{secret[-at:]} it is", starts_cut=True)
        assert mask.unfinished(f"is {secret[:at]}") == (at if at < len(secret) else 0)


def test_masking_agrees_with_replacing_on_random_texts() -> None:
    chance, secret = random.Random(1), "abcdef"
    for _ in range(300):
        text = "".join(chance.choices([secret, secret[:4], secret[2:], "x", "\n"], k=50))
        assert SecretMask([secret]).apply(text) == text.replace(secret, MASK)


def test_everything_is_hidden_when_secrets_cannot_be_read() -> None:
    assert HideAll("(hidden)").apply("one\n\ntwo\n") == "(hidden)\n\n(hidden)\n"
    assert HideAll("(hidden)").unfinished("any") == 0
