"""The output of a command: results go to stdout, everything else to stderr, colours only to a terminal."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TextIO

from django.core.management.base import BaseCommand

Options = Namespace


class Tone(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Terminal:
    def __init__(self, command: BaseCommand) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name the terminal's encoding lacks
        self._out = command.stdout
        self._err = command.stderr
        self._is_colourful = command.stdout.isatty() and "NO_COLOR" not in os.environ
        self._colours: dict[Tone, Callable[[str], str]] = {
            Tone.GOOD: command.style.SUCCESS,
            Tone.WARNING: command.style.WARNING,
            Tone.BAD: command.style.ERROR,
        }

    @property
    def stdin(self) -> TextIO:
        return sys.stdin

    @property
    def is_interactive(self) -> bool:
        return self.stdin.isatty() and self.is_terminal

    @property
    def is_terminal(self) -> bool:
        return bool(self._out.isatty())

    @property
    def columns(self) -> int | None:
        """The width of the terminal; None for a file or a pipe."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    def say(self, line: str) -> None:
        # Flushed, so that someone who waits for several programs sees each result as it comes.
        self._out.write(line, ending="\n" if line else "")
        self._out.flush()

    def warn(self, line: str) -> None:
        self._err.write(line)
        self._err.flush()

    def json(self, value: Any) -> None:
        self.say(self.as_json(value))

    def as_json(self, value: Any) -> str:
        return json.dumps(value, indent=2, ensure_ascii=False)

    def confirms(self, question: str) -> bool:
        """Asks on the terminal; anything but y or yes is a no."""
        self._err.write(question, ending="")
        self._err.flush()
        return self.stdin.readline().strip().lower() in ("y", "yes")

    def colour(self, tone: Tone | None, text: str) -> str:
        return self._colours[tone](text) if tone and self._is_colourful else text
