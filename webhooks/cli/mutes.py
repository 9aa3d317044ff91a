"""`webhook mutes`, `mute` and `unmute`."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, timedelta

from django.utils import timezone

from core.access import command_actor
from core.cli.exit_codes import Exit
from core.cli.subcommand import Subcommand
from core.cli.tables import Cell, Column, table
from core.cli.terminal import Options, Terminal
from core.cli.time_parsing import moment, seconds
from core.timeformat import local_time
from programs.cli.selection import find_program as one_program
from programs.formatting import duration_text
from webhooks import selectors, services
from webhooks.models import WebhookMute
from webhooks.serializers import mute_json

from .selection import one, one_mute

COLUMNS = (Column("id", is_number=True), Column("webhook"), Column("program"), Column("when"), Column("reason"))


class Mutes(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", dest="every", help="also those that are over")
        parser.add_argument("--json", action="store_true", help="as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        now = timezone.now()
        rows = list(selectors.mutes() if options.every else selectors.current_mutes(now))
        if options.json:
            terminal.json([mute_json(row, now) for row in rows])
        elif rows:
            terminal.say("\n".join(table(COLUMNS, list(map(_row, rows)), terminal.columns)))
        else:
            terminal.warn("Nothing is muted.")
        return Exit.DONE


def _row(row: WebhookMute) -> list[Cell]:
    return [
        Cell(str(row.pk)),
        Cell(row.endpoint.name if row.endpoint else "all"),
        Cell(row.program.name if row.program else "all"),
        Cell(_when(row)),
        Cell(row.reason),
    ]


def _when(row: WebhookMute) -> str:
    span = f"from {_shown(row.starts_at)}" + (f" to {_shown(row.ends_at)}" if row.ends_at else " until lifted")
    return f"{row.cron} for {duration_text(row.cron_seconds)}, {span}" if row.cron else span


def _shown(moment: datetime) -> str:
    return f"{local_time(moment):%Y-%m-%d %H:%M %Z}"


class Mute(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="an endpoint's name or id; without it all")
        parser.add_argument("--program", metavar="NAME", help="only about this program")
        end = parser.add_mutually_exclusive_group()
        end.add_argument(
            "--for", type=seconds, dest="length", metavar="SPAN", help="30m, 2h; without it until lifted"
        )
        end.add_argument("--until", type=moment, metavar="WHEN", help="an ISO date or time, or a time of today")
        parser.add_argument("--cron", default="", metavar="CRON", help="maintenance begins at these moments")
        parser.add_argument("--window", type=seconds, default=3600, metavar="SPAN", help="and lasts so long (1h)")
        parser.add_argument("--reason", default="")
        parser.add_argument("--everything", action="store_true", help="needed when nothing else bounds it")
        parser.add_argument("--json", action="store_true", help="as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        now = timezone.now()
        row = services.mute(
            actor=command_actor(),
            endpoint=one(options.name) if options.name is not None else None,
            program=one_program(options.program) if options.program else None,
            starts_at=now,
            ends_at=options.until if options.length is None else now + timedelta(seconds=options.length),
            cron=options.cron,
            cron_seconds=int(options.window),
            reason=options.reason,
            everything=options.everything,
        )
        if options.json:
            terminal.json(mute_json(row, now))
        else:
            whom = row.endpoint.name if row.endpoint else "every webhook"
            about = f" about {row.program.name}" if row.program else ""
            terminal.say(f"{whom} is silent{about}: {_when(row)} (mute {row.pk})")
        return Exit.DONE


class Unmute(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", metavar="ID", help="as `webhook mutes` shows it")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        services.unmute(one_mute(options.number), actor=command_actor())
        terminal.say(f"mute {options.number}: lifted")
        return Exit.DONE
