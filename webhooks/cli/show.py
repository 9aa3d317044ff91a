"""`webhook list`, `show`, `deliveries` and `preview`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from functools import partial
from typing import Any

from django.utils import timezone

from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.tables import Cell, Column, table
from core.cli.terminal import Options, Terminal, Tone
from core.cli.time_parsing import moment
from core.secrets import SecretUnreadableError
from core.timeformat import local_time
from programs.formatting import duration_text
from programs.models import ProgramEvent
from webhooks import selectors
from webhooks.delivery_wait import describe_result
from webhooks.health import EndpointCondition, EndpointHealth, health_of, health_of_many
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.outbox import writer
from webhooks.outbox.matching import MuteRule, active_mute
from webhooks.previews import preview
from webhooks.serializers import SET, delivery_json, display_url, endpoint_json, health_json

from .selection import add_endpoint, find_endpoint

COLUMNS = (
    *(Column("name"), Column("format"), Column("state"), Column("success", is_number=True)),
    *(Column("p95", is_number=True), Column("waiting", is_number=True), Column("address"), Column("reason")),
)
LOG_COLUMNS = (Column("id"), Column("when"), Column("to"), Column("event"), Column("program"), Column("outcome"))
MUTED = "muted"
# The same colours as the states of programs.
TONES: dict[str, Tone] = {
    EndpointCondition.OK: Tone.GOOD,
    EndpointCondition.WAITING: Tone.WARNING,
    EndpointCondition.FAILING: Tone.BAD,
    EndpointCondition.OPEN: Tone.BAD,
    MUTED: Tone.WARNING,
}
MAX_LINES = 1000


class List(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="JSON as in the API, with health")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        now = timezone.now()
        rows = list(selectors.endpoints())
        health = health_of_many(rows, now)
        if options.json:
            terminal.json([_with_health(row, health[row.pk]) for row in rows])
        elif rows:
            mutes = [writer.mute_rule(row) for row in selectors.current_mutes(now)]
            cells = [_row(row, health[row.pk], active_mute(mutes, row.pk, None, now), terminal) for row in rows]
            terminal.say("\n".join(table(COLUMNS, cells, terminal.columns)))
        else:
            terminal.warn("There are no webhooks yet. To add one: webhook add")
        return Exit.DONE


def _with_health(endpoint: WebhookEndpoint, health: EndpointHealth) -> dict[str, Any]:
    return {**endpoint_json(endpoint, timezone.now()), "health": health_json(health)}


def _row(
    endpoint: WebhookEndpoint, health: EndpointHealth, mute: MuteRule | None, terminal: Terminal
) -> list[Cell]:
    # A muted endpoint gets nothing, however healthy it is: show that first.
    is_muted = mute is not None and health.condition is not EndpointCondition.OFF
    condition = MUTED if is_muted else str(health.condition)
    return [
        Cell(endpoint.name),
        Cell(endpoint.format),
        Cell(condition, partial(terminal.colour, TONES.get(condition))),
        Cell(_success_text(health)),
        Cell("-" if health.duration_ms_p95 is None else f"{health.duration_ms_p95} ms"),
        Cell(str(health.counts[WebhookDelivery.State.PENDING])),
        Cell(display_url(endpoint)),
        Cell(_mute_text(mute) if mute and is_muted else endpoint.disabled_reason or endpoint.last_error),
    ]


def _mute_text(mute: MuteRule) -> str:
    ends = f"until {local_time(mute.ends_at):%Y-%m-%d %H:%M %Z}" if mute.ends_at else "until removed"
    when = f"maintenance window ({mute.cron})" if mute.cron else ends
    return f"{when}: {mute.reason}" if mute.reason else when


def _success_text(health: EndpointHealth) -> str:
    return "-" if health.success_ratio is None else f"{100 * health.success_ratio:.1f}%"


class Show(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        parser.add_argument("--json", action="store_true", help="JSON as in the API, with health")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = find_endpoint(options.name)
        health = health_of(endpoint, timezone.now())
        if options.json:
            terminal.json(_with_health(endpoint, health))
            return Exit.DONE
        values = {name: value for name, value in endpoint_json(endpoint, timezone.now()).items() if value != ""}
        values |= {"success in 24 hours": _success_text(health), "deliveries": _counts(health)}
        if health.oldest_pending_seconds is not None:
            values["oldest pending for"] = duration_text(health.oldest_pending_seconds)
        width = max(map(len, values))
        terminal.say("\n".join(f"{name:{width}}  {_text(value)}" for name, value in values.items()))
        return Exit.DONE


def _counts(health: EndpointHealth) -> str:
    return ", ".join(f"{count} {state}" for state, count in health.counts.items() if count) or "none"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    if value in (None, {}):
        return "-"
    if value == SET:
        return "(set)"
    return f"{value:g}" if isinstance(value, float) else str(value)


class Deliveries(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="name or id of an endpoint; default: all")
        parser.add_argument("-n", "--lines", type=_count, default=20, metavar="N", help="the last N (default: 20)")
        parser.add_argument(
            "--state",
            action="append",
            default=[],
            choices=WebhookDelivery.State.values,
            help="only this state (repeatable)",
        )
        parser.add_argument(
            "--since", type=moment, metavar="WHEN", help="10m (ago), 12:30, or an ISO date or time"
        )
        parser.add_argument("--json", action="store_true", help="JSON as in the API, with all attempts")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        found = selectors.deliveries_with_attempts()
        if options.name is not None:
            found = found.filter(endpoint=find_endpoint(options.name))
        if options.state:
            found = found.filter(state__in=options.state)
        if options.since:
            found = found.filter(created_at__gte=options.since)
        rows = list(found[: options.lines])
        if options.json:
            terminal.json([delivery_json(row) for row in rows])
        elif rows:
            terminal.say("\n".join(table(LOG_COLUMNS, list(map(_log_row, rows)), terminal.columns)))
        else:
            terminal.warn("No deliveries found.")
        return Exit.DONE


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LINES:
        raise ArgumentTypeError(f"{text!r} is not a number between 1 and {MAX_LINES}")
    return int(text)


def _log_row(row: WebhookDelivery) -> list[Cell]:
    outcome = row.reason if row.state == WebhookDelivery.State.CANCELLED else describe_result(row, timezone.now())
    return [
        Cell(row.pk),
        Cell(f"{local_time(row.created_at):%Y-%m-%d %H:%M:%S %Z}"),
        Cell(row.endpoint.name),
        Cell(row.event.type),
        Cell(row.event.program_name or "-"),
        Cell(f"Cancelled: {outcome}" if row.state == WebhookDelivery.State.CANCELLED else outcome),
    ]


class Preview(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        parser.add_argument("--event", metavar="ID", help="use this event instead of the last one")
        parser.add_argument("--json", action="store_true", help="JSON as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = find_endpoint(options.name)
        try:
            url, settings = endpoint.url, endpoint.settings
        except SecretUnreadableError as error:
            raise FailedError(str(error)) from error
        found = preview(endpoint.format, settings, url=url, event=_event(options.event))
        if options.json:
            terminal.json(found)
            return Exit.DONE
        request = found["request"]
        if found["sample"]:
            terminal.warn("There are no events yet; this is a sample.")
        headers = [f"{name}: {value}" for name, value in request["headers"].items()]
        terminal.say("\n".join([f"{request['method']} {request['url']}", *headers, "", request["body"]]))
        return Exit.DONE


def _event(uid: str | None) -> ProgramEvent | None:
    if uid is None:
        return None
    found = ProgramEvent.objects.filter(uid=uid).select_related("program__host").first()
    if found is None:
        raise FailedError(f"There is no event {uid}.")
    return found
