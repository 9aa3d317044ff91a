"""What the admin says beside its lists: which machine this is, and on its front page what needs a look."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from core.access import Role, has_role
from metrics.admin.alerts import firing_alerts
from programs import hosts, status
from programs.admin.columns import state_badge
from programs.admin.live import VERB_TABLE, count_states, needs_reason, reason_text
from programs.models import Host, Incident, Process
from programs.payloads import ProgramStatus
from programs.states import State
from webhooks.selectors import auto_disabled_endpoints

from .page_data import page_data

MOST_SHOWN = 10
MOST_INCIDENTS = 5


def environment(request: HttpRequest) -> list[str]:
    """The badge in the header: the name of this host."""
    return [settings.HOST_NAME, "info"]


def troubled(request: HttpRequest) -> str:
    """The badge beside Programs: how many have given up. Empty when none has."""
    fatal = Process.objects.filter(state=State.FATAL, program__removed_at=None)
    count = fatal.values("program").distinct().count()
    return str(count) if count else ""


def every_page(request: HttpRequest) -> dict[str, Any]:
    """What the banner above every page and its scripts need. Nothing for strangers."""
    if not has_role(request.user, Role.READ):
        return {}
    return {"disabled_endpoints": auto_disabled_endpoints(), "page_data": page_data()}


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds the counts by state, what needs a look, the latest incidents and the hosts."""
    context["title"] = _("Overview")
    if not has_role(request.user, Role.READ):
        return context
    shown = status.all_programs(status.read_host_state())
    now = timezone.now()
    every_host = list(Host.objects.order_by("name"))
    return context | {
        "state_counts": count_states(shown),
        "verb_table": json.dumps(VERB_TABLE),
        "attention": [(one, state_badge(one), reason_text(one)) for one in shown if needs_a_look(one)][
            :MOST_SHOWN
        ],
        "hosts": every_host,
        "silent_hosts": [host for host in every_host if not hosts.is_alive(host.heartbeat_at, now)],
        "lasting_alerts": firing_alerts(MOST_SHOWN),
        "latest_incidents": Incident.objects.all()[:MOST_INCIDENTS],
    }


def needs_a_look(shown: ProgramStatus) -> bool:
    """What has ended as it should needs none; if it did not, its incident tells."""
    return needs_reason(shown) and shown["state"] != State.EXITED
