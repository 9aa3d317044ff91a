"""`webhook test`, `redeliver` and `recover`: sends by hand and waits for the result."""

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
from webhooks.delivery_wait import DEFAULT_WAIT_SECONDS, describe_result, wait_until_settled
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.serializers import delivery_json

from .selection import add_endpoint, find_deliveries, find_endpoint


def _add_timeout(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_WAIT_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for the result, 0 to not wait (default: {DEFAULT_WAIT_SECONDS:g})",
    )


class Test(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        _add_timeout(parser)
        parser.add_argument("--json", action="store_true", help="the delivery as JSON")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        delivery = services.send_test(find_endpoint(options.name), actor=command_actor())
        result = _settled(delivery, 0, options.timeout)
        if options.json:
            terminal.json(delivery_json(result))
        else:
            terminal.say(f"{result.endpoint.name}: {describe_result(result, timezone.now())}")
        return Exit.DONE if result.state == WebhookDelivery.State.DELIVERED else Exit.FAILED


def _settled(delivery: WebhookDelivery, attempts: int, timeout: float) -> WebhookDelivery:
    found = wait_until_settled(delivery.pk, attempts, timeout)
    if found is None:
        raise FailedError("The webhook was removed in the meantime.")
    return found


class Redeliver(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="+", metavar="ID", help="msg_…, from `webhook deliveries`")
        _add_timeout(parser)
        parser.add_argument("--json", action="store_true", help="the deliveries as JSON")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = find_deliveries(options.ids)
        actor = command_actor()
        before = {row.pk: row.attempt_count for row in (services.redeliver(each, actor=actor) for each in chosen)}
        results = [_settled(row, before[row.pk], options.timeout) for row in chosen]
        if options.json:
            terminal.json([delivery_json(row) for row in results])
        else:
            for row in results:
                terminal.say(f"{row.pk}: {describe_result(row, timezone.now())}")
        # With --timeout 0 nobody waited, so nothing has failed yet.
        is_done = all(row.state == WebhookDelivery.State.DELIVERED for row in results)
        return Exit.DONE if is_done or not options.timeout else Exit.FAILED


class Recover(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_endpoint(parser)
        parser.add_argument(
            "--since", type=moment, required=True, metavar="WHEN", help="2h (ago), 12:30, or an ISO date or time"
        )
        parser.add_argument(
            "--missing", action="store_true", help="send matching events that were never sent instead"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count them")
        parser.add_argument("--json", action="store_true", help="JSON as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        endpoint = find_endpoint(options.name)
        count = _count(endpoint, options) if options.dry_run else _queue(endpoint, options)
        if options.json:
            terminal.json({"count": count, "dry_run": options.dry_run})
        else:
            text = counted(count, "missing event" if options.missing else "failed message")
            terminal.say(f"{endpoint.name}: {text} {'would be' if options.dry_run else 'will be'} sent")
        return Exit.DONE


def _count(endpoint: WebhookEndpoint, options: Options) -> int:
    if options.missing:
        return len(services.missing_since(endpoint, options.since))
    return services.failed_since(endpoint, options.since).count()


def _queue(endpoint: WebhookEndpoint, options: Options) -> int:
    act = services.replay_missing if options.missing else services.recover
    return act(endpoint, since=options.since, actor=command_actor())
