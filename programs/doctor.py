"""Doctor check: does the agent of each host write its heartbeat?"""

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
        summary = f"No agent has ever run on {settings.HOST_NAME}."
        yield warn("agent.alive", summary, "Start it with: manage.py serve")
    for host in hosts:
        yield _agent(host)


def _agent(host: Host) -> Finding:
    if is_alive(host.heartbeat_at, timezone.now()):
        return ok("agent.alive", f"The agent of {host.name} is alive.")
    since = f"since {host.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC" if host.heartbeat_at else "so far"
    summary = f"The agent of {host.name} has sent no heartbeat {since}."
    if host.name == settings.HOST_NAME and is_held("agent"):
        return fail("agent.alive", f"{summary} It runs but cannot write.", "Check its log and the database.")
    if _supervised(host):
        return fail(
            "agent.alive",
            f"{summary} The programs there are not supervised.",
            "Start it on that host: manage.py serve",
        )
    return warn("agent.alive", summary, "Start it on that host: manage.py serve")


def _supervised(host: Host) -> bool:
    ours = Q(host=host) | Q(host=None) if host.is_default else Q(host=host)
    return Program.objects.filter(ours, desired_state=Program.Desired.RUNNING).exists()
