"""`alert add`, `enable`, `disable` and `remove`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from core.cli.time_parsing import seconds
from metrics.alerts import services
from metrics.alerts.models import Condition, Metric, Severity

from .selection import add_rule, level, one

PLAIN = ("name", "metric", "condition", "threshold", "clear_threshold", "severity", "description")


class Add(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="how it is called")
        parser.add_argument("metric", metavar="METRIC", choices=Metric.values, help=", ".join(Metric.values))
        parser.add_argument("condition", metavar="above|below", choices=Condition.values)
        parser.add_argument("threshold", metavar="LEVEL", type=level, help="90, 90%%, 1.5GB, 10MB/s")
        parser.add_argument(
            "--clear", dest="clear_threshold", type=level, metavar="LEVEL", help="over when back there"
        )
        parser.add_argument("--window", type=seconds, metavar="SPAN", help="the average over so long: 30s, 5m, 1h")
        parser.add_argument("--severity", choices=Severity.values)
        parser.add_argument("--program", action="append", metavar="NAME", help="only this one (repeatable)")
        parser.add_argument("--tag", action="append", metavar="TAG", help="only programs with it (repeatable)")
        parser.add_argument("--description", metavar="TEXT")
        parser.add_argument("--off", action="store_true", help="do not watch yet")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule = services.save_rule(_values(options), actor=command_actor())
        terminal.say(f"{rule.name}: defined (id {rule.pk}); try it: alert backtest {rule.pk}")
        return Exit.DONE


def _values(options: Options) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in PLAIN} | {"tags": options.tag}
    given["window_seconds"] = None if options.window is None else round(options.window)
    given["programs"] = [_program(name) for name in options.program] if options.program else None
    given["enabled"] = False if options.off else None
    return {name: value for name, value in given.items() if value is not None}


def _program(name: str) -> int:
    from programs.cli.selection import find_program as one_program

    return one_program(name).pk


class _Switch(Subcommand):
    enabled: bool

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_rule(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule, word = one(options.name), "on" if self.enabled else "off"
        if rule.enabled is self.enabled:
            terminal.say(f"{rule.name}: already {word}")
            return Exit.DONE
        services.save_rule({"enabled": self.enabled}, actor=command_actor(), rule=rule)
        terminal.say(f"{rule.name}: {word}")
        return Exit.DONE


class Enable(_Switch):
    enabled = True


class Disable(_Switch):
    enabled = False


class Remove(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_rule(parser)
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule = one(options.name)
        if not options.yes:
            if not terminal.is_interactive:
                raise FailedError(f"This removes {rule.name}; say --yes to do it.")
            if not terminal.confirms(f"Remove {rule.name}? Its alerts stay. [y/N] "):
                raise FailedError("Nothing was removed.")
        services.remove_rule(rule, actor=command_actor())
        terminal.say(f"{rule.name}: removed")
        return Exit.DONE
