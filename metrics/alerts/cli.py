"""`alert list`, `firing` and `backtest`."""

from __future__ import annotations

import re
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.utils import timezone

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.tables import Cell, Column, counted, table
from core.cli.terminal import Options, Terminal, Tone
from core.cli.time_parsing import seconds
from core.suggest import did_you_mean
from core.timeformat import iso_from_unix
from metrics.alerts import selectors, services
from metrics.alerts.backtest import Episode, backtest
from metrics.alerts.models import Alert, AlertRule, Condition, Metric, Severity
from metrics.alerts.serializers import alert_json, outcome_json, rule_json
from metrics.alerts.units import LEVELS
from programs.descriptions import quantity
from programs.formatting import duration_text
from programs.models import Program

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
    from programs.cli.selection import one as one_program

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


LONGEST_NUMBER = 19  # digits that any database's ids hold
LEVEL = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(%|[kmgt]?b(?:/s)?)?", re.IGNORECASE)
FACTORS = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def add_rule(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a rule's name or id")


def one(name: str) -> AlertRule:
    """Raises FailedError."""
    found = AlertRule.objects.filter(name=name).first()
    if found is None and name.isascii() and name.isdigit() and len(name) < LONGEST_NUMBER:
        found = AlertRule.objects.filter(pk=int(name)).first()
    if found is None:
        known = AlertRule.objects.values_list("name", flat=True)
        raise FailedError(f"There is no alert rule {name}.{did_you_mean(name, known)}")
    return found


def level(text: str) -> float:
    """`90`, `90%`, `1.5GB` or `10MB/s` (1 KB is 1,024 bytes). Raises ArgumentTypeError."""
    found = LEVEL.fullmatch(text.strip())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no level; write 90, 90%, 1.5GB or 10MB/s")
    return float(found[1]) * FACTORS.get((found[2] or "")[:1].lower(), 1)


RULE_COLUMNS = (Column("name"), Column("state"), Column("severity"), Column("fires when"), Column("about"))
ALERT_COLUMNS = (
    *(Column("since"), Column("state"), Column("program"), Column("rule"), Column("severity")),
    *(Column("value", is_number=True), Column("lasted", is_number=True), Column("why over")),
)
EPISODE_COLUMNS = (
    *(Column("program"), Column("from"), Column("until"), Column("lasted", is_number=True)),
    *(Column("value", is_number=True), Column("highest", is_number=True), Column("why over")),
)
MOST_SHOWN = 1000
MOST_HOURS = 168


def _amount(value: float, metric: str) -> str:
    return quantity(value, LEVELS[metric].unit)


class List(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rules = list(selectors.rules())
        if options.json:
            terminal.json([rule_json(rule) for rule in rules])
        elif rules:
            names = dict(Program.objects.values_list("pk", "name"))
            rows = [_rule_row(rule, names, terminal) for rule in rules]
            terminal.say("\n".join(table(RULE_COLUMNS, rows, terminal.columns)))
        else:
            terminal.warn("There are no alert rules yet; `alert add` defines one.")
        return Exit.DONE


def _rule_row(rule: Any, names: Mapping[int, str], terminal: Terminal) -> list[Cell]:
    state = f"{rule.firing} firing" if rule.firing else "on" if rule.enabled else "off"
    tone = Tone.BAD if rule.firing else Tone.GOOD if rule.enabled else None
    watched = f"{rule.metric} {rule.condition} {_amount(rule.threshold, rule.metric)}"
    about = [*(names.get(program, "(removed)") for program in rule.programs), *(f"#{tag}" for tag in rule.tags)]
    return [
        Cell(rule.name),
        Cell(state, partial(terminal.colour, tone)),
        Cell(rule.severity),
        Cell(f"{watched} over {duration_text(rule.window_seconds)}"),
        Cell(", ".join(about) or "all programs"),
    ]


class Firing(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="also those that are over")
        parser.add_argument("-n", type=_count, default=20, metavar="N", help="at most so many (20)")
        parser.add_argument("--json", action="store_true", help="as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        now = timezone.now()
        found = list(selectors.alerts("" if options.all else "firing")[: options.n])
        if options.json:
            terminal.json([alert_json(alert, now) for alert in found])
        elif found:
            rows = [_alert_row(alert, terminal) for alert in found]
            terminal.say("\n".join(table(ALERT_COLUMNS, rows, terminal.columns)))
        else:
            terminal.warn("Nothing fires.")
        return Exit.DONE


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= MOST_SHOWN:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_SHOWN}")
    return int(text)


def _alert_row(alert: Alert, terminal: Terminal) -> list[Cell]:
    lasted = (alert.resolved_at or timezone.now()) - alert.started_at
    state, tone = ("over", None) if alert.resolved_at else ("firing", Tone.BAD)
    return [
        Cell(f"{alert.started_at:%Y-%m-%d %H:%M:%S}Z"),
        Cell(state, partial(terminal.colour, tone)),
        Cell(alert.program_name),
        Cell(alert.rule_name),
        Cell(alert.severity),
        Cell(_amount(alert.value, alert.metric)),
        Cell(duration_text(lasted.total_seconds())),
        Cell(alert.reason or "-"),
    ]


class Backtest(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_rule(parser)
        parser.add_argument("--hours", type=_hours, default=24, metavar="N", help="how far back (24, at most 168)")
        parser.add_argument("--json", action="store_true", help="as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule, now = one(options.name), int(time.time())
        outcome = backtest(rule, now - round(options.hours * 3600), now, now)
        if options.json:
            terminal.json(outcome_json(rule, outcome))
            return Exit.DONE
        rows = [
            _episode_row(rule, about.name, episode, outcome.plan.end)
            for about in outcome.programs
            for episode in about.episodes
        ]
        if rows:
            terminal.say("\n".join(table(EPISODE_COLUMNS, rows, terminal.columns)))
        about = f"{len(outcome.programs)} of {counted(outcome.judged, 'program')}"
        terminal.warn(f"It would have fired {counted(outcome.total, 'time')}, for {about}.")
        return Exit.DONE


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0
    if not 0 < hours <= MOST_HOURS:
        raise ArgumentTypeError(f"{text!r} is not a number of hours up to {MOST_HOURS}")
    return hours


def _episode_row(rule: AlertRule, program: str, episode: Episode, end: int) -> list[Cell]:
    until = episode.resolved_at
    return [
        Cell(program),
        Cell(iso_from_unix(episode.started_at)),
        Cell("-" if until is None else iso_from_unix(until)),
        Cell(duration_text((until or end) - episode.started_at)),
        Cell(_amount(episode.value, rule.metric)),
        Cell(_amount(episode.highest, rule.metric)),
        Cell(episode.reason or "still firing"),
    ]
