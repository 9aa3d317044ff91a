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
from webhooks.serializers import endpoint_json

from .selection import add_endpoint, one

EXPECTED = 'one endpoint, {"name": …, "url": …}'
REPEATED = {"event": "events", "tag": "tags"}


class Add(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = (
            "The address is a credential that others see in the list of processes: - takes it from stdin, and "
            "--url-env from this command's environment."
        )
        parser.add_argument("name", nargs="?", metavar="NAME", help="how it is called")
        parser.add_argument("url", nargs="?", metavar="URL", help="where to send; - is the next line of stdin")
        parser.add_argument("--url-env", metavar="VARIABLE", help="take the address from this variable")
        parser.add_argument("--format", help="standard, discord, slack, teams, telegram, apprise or template")
        parser.add_argument(
            "--set", action="append", type=_pair, default=[], metavar="NAME=VALUE", help="a setting"
        )
        parser.add_argument("--event", action="append", metavar="TYPE", help="program.crashed, program.* or *")
        parser.add_argument("--program", action="append", metavar="NAME", help="only about this one (repeatable)")
        parser.add_argument("--tag", action="append", metavar="TAG", help="only about programs with it")
        parser.add_argument("--min-severity", choices=ProgramEvent.Severity.values)
        parser.add_argument("--bundle-seconds", type=float, metavar="S", help="one message for all within so long")
        parser.add_argument("--json", metavar="FILE", help="the endpoint as in the API, - for stdin; options win")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        given = json_object(options.json, terminal, EXPECTED) if options.json is not None else {}
        values = given | _from_options(options, terminal)
        if missing := [name for name in ("name", "url") if name not in values]:
            raise UsageError(f"A {' and a '.join(missing)} must be given.\n")
        saved = services.save_endpoint(values, actor=command_actor())
        shown = endpoint_json(saved.endpoint, timezone.now())
        if options.json is not None:
            terminal.json(shown | ({"secret": saved.secret} if saved.secret else {}))
            return Exit.DONE
        terminal.say(
            f"{saved.endpoint.name}: defined (id {saved.endpoint.pk}); try it: webhook test {saved.endpoint.pk}"
        )
        _tell_secret(saved.secret, terminal)
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
            raise FailedError(f"There is no variable {options.url_env} in this command's environment.")
        return os.environ[options.url_env]
    if options.url == "-":
        return terminal.stdin.readline().strip()
    url: str | None = options.url
    return url


def _value(text: str) -> str | bool:
    return {"true": True, "false": False}.get(text, text)


def _program(name: str) -> int:
    from programs.cli.selection import find_program as one_program

    return one_program(name).pk


def _tell_secret(secret: str, terminal: Terminal) -> None:
    if secret:
        terminal.warn("Its secret, which is not shown again:")
        terminal.say(secret)


class Enable(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        waiting = parser.add_mutually_exclusive_group()
        waiting.add_argument("--resume", action="store_true", default=None, help="send what has waited since")
        waiting.add_argument("--cancel", action="store_false", dest="resume", help="or cancel it")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = one(options.name)
        if endpoint.enabled:
            terminal.say(f"{endpoint.name}: already on")
            return Exit.DONE
        services.save_endpoint({"enabled": True}, actor=command_actor(), endpoint=endpoint, resume=options.resume)
        terminal.say(f"{endpoint.name}: on")
        return Exit.DONE


class Disable(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = one(options.name)
        services.save_endpoint({"enabled": False}, actor=command_actor(), endpoint=endpoint)
        terminal.say(f"{endpoint.name}: off")
        return Exit.DONE


class Rotate(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = one(options.name)
        _tell_secret(services.rotate_secret(endpoint, actor=command_actor()), terminal)
        return Exit.DONE


class Remove(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = one(options.name)
        if not options.yes:
            if not terminal.is_interactive:
                raise FailedError(f"This removes {endpoint.name} with its log; say --yes to do it.")
            if not terminal.confirms(f"Remove {endpoint.name} with its log of deliveries? [y/N] "):
                raise FailedError("Nothing was removed.")
        services.remove_endpoint(endpoint, actor=command_actor())
        terminal.say(f"{endpoint.name}: removed")
        return Exit.DONE
