"""Agent, jobs and web are killed at random: every event arrives, always with the same id."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Any

import psutil
from django.contrib.auth.models import User

from core.access.roles import Role
from core.access.tokens import create_token
from programs.models import Program, ProgramEvent
from programs.states import Action
from programs.tests.actors import ask, define, end, wait_for, wait_state
from webhooks.models import WebhookDelivery
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import endpoint, record_event
from webhooks.tests.stack import Stack

PARTS = ["agent", "jobs", "web"]
KILLS = int(os.environ.get("KILLS", "3"))  # of each process
EVENTS = int(os.environ.get("KILLS_EVENTS", "60"))  # at least
SECONDS = 120 + 4 * KILLS


def all_delivered() -> bool:
    return not WebhookDelivery.objects.exclude(state="delivered").exists()


def admin_token() -> str:
    boss = User.objects.create_superuser("boss")
    return create_token(boss, "author", Role.ADMIN)[1]


def updates_of(program: Program) -> list[dict[str, Any]]:
    return list(
        ProgramEvent.objects.filter(program=program, type="program.updated").values_list("data", flat=True)
    )


def explain(stack: Stack) -> str:
    rows = WebhookDelivery.objects.exclude(state="delivered").values()[:5]
    return f"undelivered: {list(rows)}; {stack.logs()[-3000:]}"


def test_every_event_arrives_although_agent_jobs_and_web_are_killed_at_random(
    stack: Stack, receiver: Receiver
) -> None:
    endpoint(receiver.url(), max_concurrency=10, timeout_seconds=1)
    changed = define("changed", "true", autostart=False)
    stack.author.start(admin_token(), changed.pk)
    for name in PARTS:
        stack.start(name)
    bad = define("bad", "sh -c 'exit 1'", backoff_initial=0.2, backoff_max=0.3, max_restarts=0)
    wait_for(lambda: receiver.received, "the first delivery", SECONDS)
    for victim in random.sample(PARTS * KILLS, len(PARTS) * KILLS):
        wait_for(lambda: stack.is_at_work(victim), victim, 60)  # noqa: B023  (used at once)
        time.sleep(random.uniform(0, 0.5))
        stack.kill(victim)
        stack.restart_killed()
    stack.renew_jobs()
    wait_for(lambda: ProgramEvent.objects.count() >= EVENTS, "events", SECONDS)
    stack.author.stop()
    ask(bad, Action.STOP)
    wait_state(bad, "stopped")
    wait_for(all_delivered, explain(stack), SECONDS)
    stack.end()

    assert not stack.author.refused, "requests that were answered succeeded"
    recorded = {change["changes"]["description"][1] for change in updates_of(changed)}
    assert recorded >= set(stack.author.acknowledged), "every acknowledged change has an event"
    sent = dict(WebhookDelivery.objects.values_list("event__uid", "pk"))
    assert set(sent) == set(ProgramEvent.objects.values_list("uid", flat=True))
    got = {(one.json["id"], one.id) for one in receiver.received}
    assert got >= set(sent.items()), "every event arrived"
    assert len({event for event, _ in got}) == len(got), "and always with the same id"
    repeated = sum(Counter(one.id for one in receiver.received).values()) - len(got)
    assert repeated <= 10 * len(PARTS) * KILLS
    assert "database is locked" not in stack.logs()
    kills, changes = len(PARTS) * KILLS, len(stack.author.acknowledged)
    print(
        f"{kills} kills, {changes} changes acknowledged, {len(sent)} events, {len(receiver.received)} received, "
        f"{repeated} of them repeated"
    )


def test_a_killed_worker_loses_nothing_and_repeats_only_what_was_in_flight(
    stack: Stack, receiver: Receiver
) -> None:
    endpoint(receiver.url(), max_concurrency=4, timeout_seconds=1, rate_per_second=20)
    for _ in range(40):
        record_event("agent.lost")
    stack.start("agent")
    stack.start("jobs")
    wait_for(lambda: len(receiver.received) >= 5, "the first deliveries", SECONDS)
    guard = psutil.Process(stack.processes["jobs"].pid)
    for process in guard.children(recursive=True):
        end(process)
    wait_for(all_delivered, explain(stack), 90)
    counts = Counter(one.id for one in receiver.received if one.json["type"] == "agent.lost")
    assert len(counts) == 40
    assert sum(counts.values()) - 40 <= 4, "only messages in flight arrived twice"


def test_many_exits_become_one_bundled_message(stack: Stack, receiver: Receiver) -> None:
    url = receiver.url("/chat")
    endpoint(url, format="discord", events=["program.crashed"], bundle_seconds=5)
    stack.start("agent")
    stack.start("jobs")
    define("web", "sh -c 'exit 3'", instances_min=12, instances_max=12, restart_policy="never")
    wait_for(lambda: receiver.received, "the message", 60)
    wait_for(all_delivered, "the rest", 30)
    assert WebhookDelivery.objects.count() == 12
    (message,) = receiver.received
    assert "12" in message.body.decode() and "exit" in message.body.decode()
