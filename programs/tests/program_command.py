"""Runs `manage.py program …` and other commands in this process, on the test database."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from django.core.management import CommandError, call_command


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class PersonsKeyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


class PersonsScreen(io.StringIO):
    def isatty(self) -> bool:
        return True


def program(*words: str, stdin: str = "", answers: str | None = None) -> Done:
    return command("program", *words, stdin=stdin, answers=answers)


def command(name: str, *words: str, stdin: str = "", answers: str | None = None) -> Done:
    """With `answers` stdin is a terminal on which they are typed; otherwise it is a pipe with the text `stdin`."""
    out = io.StringIO() if answers is None else PersonsScreen()
    err = io.StringIO()
    keyboard = io.StringIO(stdin) if answers is None else PersonsKeyboard(answers)
    with patch.object(sys, "stdin", keyboard):
        try:
            call_command(name, *words, stdout=out, stderr=err)
        except SystemExit as end:
            return Done(int(end.code or 0), out.getvalue(), err.getvalue())
        except CommandError as error:  # what argparse ends with exit code 2 on a real command line
            return Done(2, out.getvalue(), f"{err.getvalue()}{error}")
    return Done(0, out.getvalue(), err.getvalue())
