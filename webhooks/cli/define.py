"""`webhook add`, `enable`, `disable`, `rotate` and `remove`."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.utils import timezone

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError, UsageError
from core.cli.json_input import json_object
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs.models import ProgramEvent
from webhooks import services
from webhooks.models import SUGGESTED_EVENTS
from webhooks.serializers import endpoint_json

from .selection import add_endpoint, find_endpoint

EXPECTED = 'one endpoint, {"name": …, "url": …}'
REPEATED = {"event": "events", "tag": "tags"}


class Add(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = (
            "The URL is a credential, and other users can see it in the process list. Use - to read it from "
            "stdin, or --url-env to read it from the environment."
        )
        parser.add_argument("name", nargs="?", metavar="NAME", help="name of the endpoint")
        parser.add_argument("url", nargs="?", metavar="URL", help="where to send; - reads a line from stdin")
        parser.add_argument("--url-env", metavar="VARIABLE", help="read the URL from this environment variable")
        parser.add_argument("--format", help="standard, discord, slack, teams, telegram, apprise or template")
        parser.add_argument(
            "--set",
            action="append",
            type=_pair,
            default=[],
            metavar="NAME=VALUE",
            help="a setting of the format (repeatable)",
        )
        parser.add_argument(
            "--event",
            action="append",
            metavar="TYPE",
            help="program.crashed, program.* or * (repeatable; default: crashed, fatal, unhealthy and alerts)",
        )
        parser.add_argument(
            "--program", action="append", metavar="NAME", help="only events of this program (repeatable)"
        )
        parser.add_argument(
            "--tag", action="append", metavar="TAG", help="only events of programs with this tag (repeatable)"
        )
        parser.add_argument("--min-severity", choices=ProgramEvent.Severity.values)
        parser.add_argument(
            "--bundle-seconds", type=float, metavar="S", help="combine the events of S seconds into one message"
        )
        parser.add_argument(
            "--json", metavar="FILE", help="read the endpoint as in the API, - for stdin; options override it"
        )

    def run(self, options: Options, terminal: Terminal) -> Exit:
        # JSON is read as in the API, with the API's defaults.
        from_json = options.json is not None
        given = json_object(options.json, terminal, EXPECTED) if from_json else {"events": SUGGESTED_EVENTS}
        values = given | _from_options(options, terminal)
        if missing := [name for name in ("name", "url") if name not in values]:
            raise UsageError(f"Missing: {' and '.join(missing)}.\n")
        saved = services.save_endpoint(values, actor=command_actor())
        found = endpoint_json(saved.endpoint, timezone.now())
        if options.json is not None:
            terminal.json(found | ({"secret": saved.secret} if saved.secret else {}))
            return Exit.DONE
        terminal.say(
            f"{saved.endpoint.name}: added (id {saved.endpoint.pk}). To test it: webhook test {saved.endpoint.pk}"
        )
        _print_secret(saved.secret, terminal)
        return Exit.DONE


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _from_options(options: Options, terminal: Terminal) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in ("name", "format", "min_severity", "bundle_seconds")}
    given |= {field: getattr(options, option) for option, field in REPEATED.items()}
    given["url"] = _url(options, terminal)
    given["settings"] = {name: _value(value) for name, value in options.set} or None
    given["programs"] = [_program(name) for name in options.program] if options.program else None
    return {name: value for name, value in given.items() if value is not None}


def _url(options: Options, terminal: Terminal) -> str | None:
    if options.url_env is not None:
        if options.url_env not in os.environ:
            raise FailedError(f"The environment variable {options.url_env} is not set.")
        return os.environ[options.url_env]
    if options.url == "-":
        return terminal.stdin.readline().strip()
    url: str | None = options.url
    return url


def _value(text: str) -> str | bool:
    # Settings such as silent_below_error are booleans.
    return {"true": True, "false": False}.get(text, text)


def _program(name: str) -> int:
    # Imported here: most calls have no --program.
    from programs.cli.selection import find_program as one_program

    return one_program(name).pk


def _print_secret(secret: str, terminal: Terminal) -> None:
    if secret:
        # On stderr: scripts read the secret alone from stdout.
        terminal.warn("Signing secret, not shown again:")
        terminal.say(secret)


class Enable(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        pending = parser.add_mutually_exclusive_group()
        pending.add_argument("--resume", action="store_true", default=None, help="send pending deliveries")
        pending.add_argument("--cancel", action="store_false", dest="resume", help="cancel pending deliveries")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = find_endpoint(options.name)
        if endpoint.enabled:
            terminal.say(f"{endpoint.name}: already enabled")
            return Exit.DONE
        services.save_endpoint({"enabled": True}, actor=command_actor(), endpoint=endpoint, resume=options.resume)
        terminal.say(f"{endpoint.name}: enabled")
        return Exit.DONE


class Disable(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = find_endpoint(options.name)
        services.save_endpoint({"enabled": False}, actor=command_actor(), endpoint=endpoint)
        terminal.say(f"{endpoint.name}: disabled")
        return Exit.DONE


class Rotate(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = find_endpoint(options.name)
        _print_secret(services.rotate_secret(endpoint, actor=command_actor()), terminal)
        return Exit.DONE


class Remove(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask for confirmation")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = find_endpoint(options.name)
        if not options.yes:
            if not terminal.is_interactive:
                raise FailedError(f"This removes {endpoint.name} and its deliveries. Confirm with --yes.")
            if not terminal.confirms(f"Remove {endpoint.name} and its deliveries? [y/N] "):
                raise FailedError("Nothing was removed.")
        services.remove_endpoint(endpoint, actor=command_actor())
        terminal.say(f"{endpoint.name}: removed")
        return Exit.DONE
