"""The doctor's look at the agents: each host's proves itself by a heartbeat in the database."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from core.doctor import Finding, fail, ok, register, warn
from core.locks import is_held

from .hosts import is_alive
from .models import Host, Program


@register
def agents() -> Iterator[Finding]:
    hosts = list(Host.objects.order_by("name"))
    if not any(host.name == settings.HOST_NAME for host in hosts):
        told = f"No agent has ever run on {settings.HOST_NAME}."
        yield warn("agent.alive", told, "Start it: manage.py serve")
    for host in hosts:
        yield _agent(host)


def _agent(host: Host) -> Finding:
    if is_alive(host.heartbeat_at, timezone.now()):
        return ok("agent.alive", f"The agent of {host.name} is alive.")
    since = f"since {host.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC" if host.heartbeat_at else "so far"
    told = f"The agent of {host.name} has not been heard of {since}."
    if host.name == settings.HOST_NAME and is_held("agent"):
        return fail("agent.alive", f"{told} It runs, but cannot write.", "Look at its log and at the database.")
    if _supervised(host):
        return fail("agent.alive", f"{told} Programs there are not watched.", "Start it there: manage.py serve")
    return warn("agent.alive", told, "Start it there: manage.py serve")


def _supervised(host: Host) -> bool:
    """Whether programs that should be running count on this agent."""
    ours = Q(host=host) | Q(host=None) if host.is_default else Q(host=host)
    return Program.objects.filter(ours, desired_state=Program.Desired.RUNNING).exists()
