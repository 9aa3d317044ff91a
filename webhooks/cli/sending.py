"""`webhook test`, `redeliver` and `recover`: sending by hand, and waiting for what comes of it."""

from __future__ import annotations

from argparse import ArgumentParser

from django.utils import timezone

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.tables import counted
from core.cli.terminal import Options, Terminal
from core.cli.time_parsing import moment, seconds
from webhooks import services
from webhooks.delivery_wait import PATIENCE, told, until_settled
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.serializers import delivery_json

from .selection import add_endpoint, named_deliveries, one


def _add_timeout(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=PATIENCE,
        metavar="SECONDS",
        help=f"wait at most so long, 0 for not at all (default: {PATIENCE:g})",
    )


class Test(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        _add_timeout(parser)
        parser.add_argument("--json", action="store_true", help="the delivery as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        delivery = services.send_test(one(options.name), actor=command_actor())
        now = _settled(delivery, 0, options.timeout)
        if options.json:
            terminal.json(delivery_json(now))
        else:
            terminal.say(f"{now.endpoint.name}: {told(now, timezone.now())}")
        return Exit.DONE if now.state == WebhookDelivery.State.DELIVERED else Exit.FAILED


def _settled(delivery: WebhookDelivery, attempts: int, timeout: float) -> WebhookDelivery:
    found = until_settled(delivery.pk, attempts, timeout)
    if found is None:
        raise FailedError("The webhook was removed meanwhile.")
    return found


class Redeliver(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="+", metavar="ID", help="msg_…, as `webhook deliveries` shows them")
        _add_timeout(parser)
        parser.add_argument("--json", action="store_true", help="the deliveries as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = named_deliveries(options.ids)
        actor = command_actor()
        before = {row.pk: row.attempt_count for row in (services.redeliver(each, actor=actor) for each in chosen)}
        ended = [_settled(row, before[row.pk], options.timeout) for row in chosen]
        if options.json:
            terminal.json([delivery_json(row) for row in ended])
        else:
            for row in ended:
                terminal.say(f"{row.pk}: {told(row, timezone.now())}")
        is_done = all(row.state == WebhookDelivery.State.DELIVERED for row in ended)
        return Exit.DONE if is_done or not options.timeout else Exit.FAILED


class Recover(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        parser.add_argument(
            "--since", type=moment, required=True, metavar="WHEN", help="2h (ago), 12:30, or an ISO date or time"
        )
        parser.add_argument("--missing", action="store_true", help="events it wants and was never sent, instead")
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")
        parser.add_argument("--json", action="store_true", help="as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = one(options.name)
        count = _counted(endpoint, options) if options.dry_run else _queued(endpoint, options)
        if options.json:
            terminal.json({"count": count, "dry_run": options.dry_run})
        else:
            what = counted(count, "missing event" if options.missing else "failed message")
            terminal.say(f"{endpoint.name}: {what} {'would be' if options.dry_run else 'will be'} sent")
        return Exit.DONE


def _counted(endpoint: WebhookEndpoint, options: Options) -> int:
    if options.missing:
        return len(services.missing_since(endpoint, options.since))
    return services.failed_since(endpoint, options.since).count()


def _queued(endpoint: WebhookEndpoint, options: Options) -> int:
    act = services.replay_missing if options.missing else services.recover
    return act(endpoint, since=options.since, actor=command_actor())
