"""Runs the code of the guide, and checks that its commands exist."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webhooks.delivery import signing
from webhooks.management.commands.webhook import SUBCOMMANDS

GUIDE = (Path(__file__).resolve().parents[2] / "docs/webhooks.md").read_text(encoding="utf-8")
SECRET = signing.new_secret()
BODY = '{"text": "größer"}'.encode()
CALL = "const [s, h, b] = JSON.parse(require('fs').readFileSync(0)); verify(s, h, Buffer.from(b, 'base64'));"
Verify = Callable[[str, dict[str, str], bytes], None]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


def in_python(secret: str, headers: dict[str, str], body: bytes) -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    names["verify"](secret, headers, body)


def in_node(secret: str, headers: dict[str, str], body: bytes) -> None:
    given = json.dumps([secret, headers, base64.b64encode(body).decode()])
    script = block("js") + CALL
    done = subprocess.run(["node", "-e", script], input=given, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ValueError(done.stderr)


VERIFIERS = [in_python, *([in_node] if shutil.which("node") else [])]


@pytest.mark.parametrize("verify", VERIFIERS)
def test_the_verifiers_of_the_guide_accept_only_our_signatures(verify: Verify) -> None:
    now = int(time.time())
    other = signing.new_secret()
    headers = signing.signature_headers("msg_1", now, BODY, [other, SECRET])
    verify(SECRET, headers, BODY)
    verify(other, headers, BODY)
    for secret, given, body in (
        (signing.new_secret(), headers, BODY),
        (SECRET, headers, BODY + b" "),
        (SECRET, {**headers, "webhook-id": "msg_2"}, BODY),
        (SECRET, {**headers, "webhook-signature": "v1,"}, BODY),
        (SECRET, signing.signature_headers("msg_1", now - 400, BODY, [SECRET]), BODY),
    ):
        with pytest.raises(ValueError):
            verify(secret, given, body)


def test_every_command_in_the_guide_exists() -> None:
    named = set(re.findall(r"manage\.py webhook (\w+)", GUIDE))
    assert named and named <= SUBCOMMANDS.keys()
