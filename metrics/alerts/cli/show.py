"""`alert list`, `firing` and `backtest`."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.utils import timezone

from core.cli.exit_codes import Exit
from core.cli.subcommand import Subcommand
from core.cli.tables import Cell, Column, counted, table
from core.cli.terminal import Options, Terminal, Tone
from core.timeformat import iso_from_unix
from metrics.alerts import selectors
from metrics.alerts.backtest import Episode, backtest
from metrics.alerts.models import Alert, AlertRule
from metrics.alerts.serializers import alert_json, outcome_json, rule_json
from metrics.alerts.units import LEVELS
from programs.descriptions import quantity
from programs.formatting import duration_text
from programs.models import Program

from .selection import add_rule, one

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
