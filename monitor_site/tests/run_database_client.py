"""A host's part in a test with several: does what each line on stdin says, and answers each with a line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

import django

django.setup()

from django.conf import settings  # noqa: E402  (needs the apps, as all below)
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from core.db_errors import is_outage  # noqa: E402
from metrics.storage.history_revision import invalidate_history  # noqa: E402
from programs import events, services  # noqa: E402
from programs.hosts import this_host  # noqa: E402
from programs.models import Program, ProgramEvent  # noqa: E402
from programs.states import Action  # noqa: E402
from programs.supervisor import heartbeat, journal  # noqa: E402
from webhooks.delivery import job_locks, results  # noqa: E402
from webhooks.models import WebhookEndpoint  # noqa: E402
from webhooks.services import save_endpoint  # noqa: E402

ACTOR = settings.HOST_NAME
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND client_addr = '10.78.0.2'"
held = ExitStack()


def own() -> Program:
    return Program.objects.get(name=ACTOR)


def define() -> None:
    host = this_host()
    services.save_definition({"name": ACTOR, "command": "sleep 1", "host": host.name}, actor=ACTOR)
    if not WebhookEndpoint.objects.exists():
        save_endpoint({"name": "ops", "url": "http://127.0.0.1:9/", "format": "standard"}, actor="x")


def agent() -> None:
    """What an agent writes of one step: state, event, deliveries, heartbeat; and points that reach back."""
    now = timezone.now()
    event = {"uid": "", "type": "program.running", "at": now.isoformat(), "actor": "agent", "data": {}}
    entry = journal.Entry(process=(own().pk, 0), values={"state": "running"}, event=event, desired="running")
    usage = {"cpu_percent": 1.0, "memory_bytes": 1, "threads": 1}
    journal.write(
        [entry], {(own().pk, 0): usage}, this_host().pk, heartbeat.HostHeartbeat(now, heartbeat.Kind.NEXT)
    )
    invalidate_history()


def request() -> None:
    services.request(own(), Action.RESTART, actor=ACTOR)


def definition() -> None:
    services.save_definition({"description": str(timezone.now())}, program=own(), actor=ACTOR)


def sender() -> None:
    """Locks the endpoints as for the results of deliveries."""
    results._endpoints(set(WebhookEndpoint.objects.values_list("pk", flat=True)))


def queue() -> None:
    job_locks.queue_once("sender", "builtins.print", timezone.now() + timedelta(days=1))


KINDS: dict[str, Callable[[], None]] = {f.__name__: f for f in (agent, request, definition, sender, queue)}


def hold(kind: str, seconds: str) -> str:
    """Leaves a transaction open, which the server may end after `seconds` (0: never)."""
    held.enter_context(transaction.atomic())
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'")
    KINDS[kind]()
    events.record("agent.started", actor=ACTOR)
    return "holding"


def commit() -> str:
    held.close()
    return "committed"


def work(kinds: str, rounds: str) -> str:
    """How many transactions of host 0 were open all the time."""
    for _ in range(int(rounds)):
        for kind in kinds.split(","):
            with transaction.atomic():
                KINDS[kind]()
                events.record("agent.started", actor=ACTOR)
    return open_there()


def open_there() -> str:
    with connection.cursor() as cursor:
        cursor.execute(OPEN)
        return str(cursor.fetchone()[0])


def last_number(actor: str) -> str:
    return str(ProgramEvent.objects.filter(actor=actor).order_by("-seq").values_list("seq", flat=True)[0])


COMMANDS: dict[str, Callable[..., str | None]] = {
    f.__name__: f for f in (define, hold, commit, work, open_there, last_number)
}


def main() -> None:
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer = COMMANDS[command](*arguments) or "done"
        except Exception as error:
            traceback.print_exc()
            connection.close()
            answer = "outage" if is_outage(error) else "failed"
        print(answer, flush=True)


main()
