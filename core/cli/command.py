"""Commands with subcommands: each is loaded on use, and expected errors are printed as one sentence."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError

from core.exceptions import ConflictError
from core.secrets import SecretUnreadableError

from .exit_codes import Exit, FailedError, UsageError
from .subcommand import Entry, Subcommand
from .terminal import Terminal


def validation_lines(error: ValidationError) -> list[str]:
    """`field: message`, one line each; only the message if it is about several fields."""
    if not hasattr(error, "error_dict"):
        return error.messages
    named = [(field, message) for field, messages in error.message_dict.items() for message in messages]
    return [message if field == NON_FIELD_ERRORS else f"{field}: {message}" for field, message in named]


class SubcommandParser(CommandParser):
    """Loads its subcommand only when it parses, so that the others cost no start-up time."""

    def __init__(self, *, entry: Entry, **kwargs: Any) -> None:
        super().__init__(**kwargs, allow_abbrev=False)
        self._entry = entry
        self._subcommand: Subcommand | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._subcommand is None:
            self._subcommand = self._entry.load()
            self._subcommand.add_arguments(self)
            self.set_defaults(run=self._subcommand.run, usage=self.format_usage())
        try:
            arranged = self._subcommand.arranged(args or [])
        except UsageError as error:
            self.error(str(error))
        found, unknown = super().parse_known_args(arranged, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")  # with the usage of this subcommand
        return found, unknown


class SubcommandsCommand(BaseCommand):
    subcommands: Mapping[str, Entry]
    requires_system_checks = []  # `serve` and `check` run them; they would double the time of a status

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(
            dest="subcommand", required=True, metavar="SUBCOMMAND", parser_class=SubcommandParser
        )
        for name, entry in self.subcommands.items():
            subcommands.add_parser(name, help=entry.help, description=_sentence(entry.help), entry=entry)

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = Namespace(**options)
        try:
            code = chosen.run(chosen, Terminal(self))
        except BrokenPipeError:
            code = _discard_output()
        except KeyboardInterrupt:
            code = self._fail("Interrupted. The request itself goes on.", Exit.INTERRUPTED)
        except tuple(EXPLAINED) as error:
            if chosen.traceback:
                raise
            usage = chosen.usage if isinstance(error, UsageError) else ""
            code = self._fail(usage + _explained(error), getattr(error, "exit", Exit.FAILED))
        if code is not Exit.DONE:
            sys.exit(code)

    def _fail(self, text: str, code: Exit) -> Exit:
        self.stderr.write(text)
        return code


def _database_text(error: Exception) -> str:
    if "no such table" in str(error) or "does not exist" in str(error):
        return "The database has no tables yet. Run `manage.py serve`, which creates them."
    return f"Database error: {error}"


# Errors that end a command with a sentence; any other is a bug and shows its traceback.
EXPLAINED: dict[type[Exception], Callable[[Any], str]] = {
    FailedError: str,
    ConflictError: str,
    ValidationError: lambda error: "\n".join(validation_lines(error)),
    DatabaseError: _database_text,
    SecretUnreadableError: str,
    PermissionError: str,
    # Without the text itself: it may be a secret.
    UnicodeEncodeError: lambda error: "An argument isn't valid UTF-8.",
}


def _explained(error: Exception) -> str:
    return next(text(error) for kind, text in EXPLAINED.items() if isinstance(error, kind))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _discard_output() -> Exit:
    # `program list | head -1`: without this, the interpreter's last flush of stdout fails at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.DONE
