"""Checks the texts inside a definition: commands, addresses and signals."""

from __future__ import annotations

import re
import shlex
import signal
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from programs.placeholders import PlaceholderError, fill


def split_command(command: str) -> list[str]:
    """The words a shell would make of it. Raises ValidationError: open quotes, or no word at all."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValidationError(f"The command can't be split into words: {error}.") from error
    if not words or not words[0]:
        raise ValidationError("The command is empty.")
    return words


def check_placeholders(text: str) -> None:
    try:
        fill(text, 0)
    except PlaceholderError as error:
        raise ValidationError(str(error)) from error


def check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets around something that isn't an IPv6 address
        is_valid = False
    if not is_valid:
        raise ValidationError(f"{text!r} isn't a URL. Use http://host:port/path.")


def check_address(text: str) -> None:
    host, _, port = text.rpartition(":")
    if not host or not (port.isdigit() or "{instance" in port):
        raise ValidationError(f"{text!r} isn't an address. Use host:port, for example 127.0.0.1:6379.")


def signal_number(text: str) -> int:
    """`TERM`, `SIGTERM` or `15` as a number. Raises ValidationError."""
    if re.fullmatch(r"[0-9]{1,3}", text) and int(text) in {known.value for known in signal.Signals}:
        return int(text)
    try:
        return signal.Signals["SIG" + text.upper().removeprefix("SIG")].value
    except KeyError:
        raise ValidationError(f"{text!r} isn't a signal of this system. Examples: TERM, INT, QUIT, HUP.") from None
