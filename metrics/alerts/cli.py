"""The subcommands of `manage.py alert`; `metrics.management.commands.alert` lists them."""

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
from metrics.alerts.models import Alert, AlertRule, Comparison, Metric, Severity
from metrics.alerts.serializers import alert_json, backtest_json, rule_json
from metrics.alerts.units import METRIC_SPECS
from programs.descriptions import quantity
from programs.formatting import duration_text
from programs.models import Program

RULE_OPTIONS = ("name", "metric", "condition", "threshold", "clear_threshold", "severity", "description")
MAX_ID_DIGITS = 19  # more do not fit into the id column
THRESHOLD_PATTERN = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(%|[kmgt]?b(?:/s)?)?", re.IGNORECASE)
FACTORS = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def add_rule_argument(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a rule's name or id")


def find_rule(name: str) -> AlertRule:
    """By name, else by id. Raises FailedError."""
    found = AlertRule.objects.filter(name=name).first()
    if found is None and name.isascii() and name.isdigit() and len(name) < MAX_ID_DIGITS:
        found = AlertRule.objects.filter(pk=int(name)).first()
    if found is None:
        known = AlertRule.objects.values_list("name", flat=True)
        raise FailedError(f"There is no alert rule {name}.{did_you_mean(name, known)}")
    return found


def parse_threshold(text: str) -> float:
    """Parses `90`, `90%`, `1.5GB` or `10MB/s` (1 KB is 1,024 bytes). Raises ArgumentTypeError."""
    found = THRESHOLD_PATTERN.fullmatch(text.strip())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a value. Use 90, 90%, 1.5GB or 10MB/s")
    return float(found[1]) * FACTORS.get((found[2] or "")[:1].lower(), 1)


# --- alert add, enable, disable, remove -----------------------------------------------------------------


class AddRule(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="name of the rule")
        parser.add_argument("metric", metavar="METRIC", choices=Metric.values, help=", ".join(Metric.values))
        parser.add_argument("condition", metavar="above|below", choices=Comparison.values)
        parser.add_argument("threshold", metavar="VALUE", type=parse_threshold, help="90, 90%%, 1.5GB, 10MB/s")
        parser.add_argument(
            "--clear",
            dest="clear_threshold",
            type=parse_threshold,
            metavar="VALUE",
            help="resolves at this value (default: the threshold)",
        )
        parser.add_argument("--window", type=seconds, metavar="SPAN", help="average over this time: 30s, 5m, 1h")
        parser.add_argument("--severity", choices=Severity.values)
        parser.add_argument("--program", action="append", metavar="NAME", help="only this program (repeatable)")
        parser.add_argument(
            "--tag", action="append", metavar="TAG", help="only programs with this tag (repeatable)"
        )
        parser.add_argument("--description", metavar="TEXT")
        parser.add_argument("--off", action="store_true", help="create the rule disabled")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule = services.save_rule(_values(options), actor=command_actor())
        terminal.say(f"{rule.name}: created (id {rule.pk}). To try it: alert backtest {rule.pk}")
        return Exit.DONE


def _values(options: Options) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in RULE_OPTIONS} | {"tags": options.tag}
    given["window_seconds"] = None if options.window is None else round(options.window)
    given["programs"] = [_program_id(name) for name in options.program] if options.program else None
    given["enabled"] = False if options.off else None
    return {name: value for name, value in given.items() if value is not None}


def _program_id(name: str) -> int:
    from programs.cli.selection import find_program as one_program

    return one_program(name).pk


class _SetEnabled(Subcommand):
    enabled: bool

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_rule_argument(parser)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule, state = find_rule(options.name), "enabled" if self.enabled else "disabled"
        if rule.enabled is self.enabled:
            terminal.say(f"{rule.name}: already {state}")
            return Exit.DONE
        services.save_rule({"enabled": self.enabled}, actor=command_actor(), rule=rule)
        terminal.say(f"{rule.name}: {state}")
        return Exit.DONE


class EnableRule(_SetEnabled):
    enabled = True


class DisableRule(_SetEnabled):
    enabled = False


class RemoveRule(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_rule_argument(parser)
        parser.add_argument("-y", "--yes", action="store_true", help="skip the confirmation")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule = find_rule(options.name)
        if not options.yes:
            if not terminal.is_interactive:
                raise FailedError(f"Use --yes to remove {rule.name} without a confirmation.")
            if not terminal.confirms(f"Remove {rule.name}? Its alerts are kept. [y/N] "):
                raise FailedError("Nothing was removed.")
        services.remove_rule(rule, actor=command_actor())
        terminal.say(f"{rule.name}: removed")
        return Exit.DONE


# --- alert list, firing, backtest -----------------------------------------------------------------------

RULE_COLUMNS = (Column("name"), Column("state"), Column("severity"), Column("fires when"), Column("programs"))
ALERT_COLUMNS = (
    *(Column("since"), Column("state"), Column("program"), Column("rule"), Column("severity")),
    *(Column("value", is_number=True), Column("duration", is_number=True), Column("resolution")),
)
EPISODE_COLUMNS = (
    *(Column("program"), Column("from"), Column("until"), Column("duration", is_number=True)),
    *(Column("value", is_number=True), Column("highest", is_number=True), Column("resolution")),
)
MAX_SHOWN = 1000
MAX_HOURS = 168


def _amount(value: float, metric: str) -> str:
    return quantity(value, METRIC_SPECS[metric].unit)


class ListRules(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rules = list(selectors.rules())
        if options.json:
            terminal.json([rule_json(rule) for rule in rules])
        elif rules:
            names = dict(Program.objects.values_list("pk", "name"))
            rows = [_rule_row(rule, names, terminal) for rule in rules]
            terminal.say("\n".join(table(RULE_COLUMNS, rows, terminal.columns)))
        else:
            terminal.warn("There are no alert rules yet. `alert add` creates one.")
        return Exit.DONE


def _rule_row(rule: Any, names: Mapping[int, str], terminal: Terminal) -> list[Cell]:
    state = f"{rule.firing} firing" if rule.firing else "enabled" if rule.enabled else "disabled"
    tone = Tone.BAD if rule.firing else Tone.GOOD if rule.enabled else None
    watched = f"{rule.metric} {rule.condition} {_amount(rule.threshold, rule.metric)}"
    program = [*(names.get(program, "(removed)") for program in rule.programs), *(f"#{tag}" for tag in rule.tags)]
    return [
        Cell(rule.name),
        Cell(state, partial(terminal.colour, tone)),
        Cell(rule.severity),
        Cell(f"{watched} over {duration_text(rule.window_seconds)}"),
        Cell(", ".join(program) or "all programs"),
    ]


class ListAlerts(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="also resolved alerts")
        parser.add_argument("-n", type=_count, default=20, metavar="N", help="maximum number (default 20)")
        parser.add_argument("--json", action="store_true", help="print JSON as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        now = timezone.now()
        found = list(selectors.alerts("" if options.all else "firing")[: options.n])
        if options.json:
            terminal.json([alert_json(alert, now) for alert in found])
        elif found:
            rows = [_alert_row(alert, terminal) for alert in found]
            terminal.say("\n".join(table(ALERT_COLUMNS, rows, terminal.columns)))
        else:
            terminal.warn("No alert is firing.")
        return Exit.DONE


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= MAX_SHOWN:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_SHOWN}")
    return int(text)


def _alert_row(alert: Alert, terminal: Terminal) -> list[Cell]:
    duration = (alert.resolved_at or timezone.now()) - alert.started_at
    state, tone = ("resolved", None) if alert.resolved_at else ("firing", Tone.BAD)
    return [
        Cell(f"{alert.started_at:%Y-%m-%d %H:%M:%S}Z"),
        Cell(state, partial(terminal.colour, tone)),
        Cell(alert.program_name),
        Cell(alert.rule_name),
        Cell(alert.severity),
        Cell(_amount(alert.value, alert.metric)),
        Cell(duration_text(duration.total_seconds())),
        Cell(alert.reason or "-"),
    ]


class BacktestRule(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_rule_argument(parser)
        parser.add_argument(
            "--hours",
            type=_hours,
            default=24,
            metavar="N",
            help="length of the backtest in hours (default 24, at most 168)",
        )
        parser.add_argument("--json", action="store_true", help="print JSON as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        rule, now = find_rule(options.name), int(time.time())
        result = backtest(rule, now - round(options.hours * 3600), now, now)
        if options.json:
            terminal.json(backtest_json(rule, result))
            return Exit.DONE
        rows = [
            _episode_row(rule, program.name, episode, result.plan.end)
            for program in result.programs
            for episode in program.episodes
        ]
        if rows:
            terminal.say("\n".join(table(EPISODE_COLUMNS, rows, terminal.columns)))
        program = f"{len(result.programs)} of {counted(result.judged, 'program')}"
        terminal.warn(f"It would have fired {counted(result.total, 'time')}, for {program}.")
        return Exit.DONE


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0
    if not 0 < hours <= MAX_HOURS:
        raise ArgumentTypeError(f"{text!r} is not a number of hours up to {MAX_HOURS}")
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
