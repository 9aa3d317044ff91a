"""The overview and cache pages of the admin, and the badges and banner of every page."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from core import cache
from core.access import Role, has_role
from core.access.permissions import role_required
from metrics.admin.alerts import firing_alerts
from programs import hosts, status
from programs.admin.columns import state_badge
from programs.admin.live import VERB_TABLE, count_states, needs_reason, reason_text
from programs.models import Host, Incident, Process
from programs.payloads import ProgramStatus
from programs.states import State
from webhooks.selectors import auto_disabled_endpoints

from .page_data import page_data

MAX_ROWS = 10
MAX_INCIDENTS = 5


def environment(request: HttpRequest) -> list[str]:
    return [settings.HOST_NAME, "info"]


def fatal_badge(request: HttpRequest) -> str:
    """The number of programs in state fatal, for the sidebar; empty if there are none."""
    fatal = Process.objects.filter(state=State.FATAL, program__removed_at=None)
    count = fatal.values("program").distinct().count()
    return str(count) if count else ""


def every_page(request: HttpRequest) -> dict[str, Any]:
    if not has_role(request.user, Role.READ):
        return {}
    return {"disabled_endpoints": auto_disabled_endpoints(), "page_data": page_data()}


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    context["title"] = _("Overview")
    if not has_role(request.user, Role.READ):
        return context
    shown = status.all_programs(status.read_host_state())
    now = timezone.now()
    every_host = list(Host.objects.order_by("name"))
    return context | {
        "state_counts": count_states(shown),
        "verb_table": json.dumps(VERB_TABLE),
        "attention": [(one, state_badge(one), reason_text(one)) for one in shown if needs_attention(one)][
            :MAX_ROWS
        ],
        "hosts": every_host,
        "silent_hosts": [host for host in every_host if not hosts.is_alive(host.heartbeat_at, now)],
        "lasting_alerts": firing_alerts(MAX_ROWS),
        "latest_incidents": Incident.objects.all()[:MAX_INCIDENTS],
    }


def needs_attention(shown: ProgramStatus) -> bool:
    # An exited program stopped as expected; an unexpected exit has an incident.
    return needs_reason(shown) and shown["state"] != State.EXITED


@require_safe
@role_required(Role.READ)
def cache_page(request: HttpRequest) -> HttpResponse:
    place = _("Redis") if settings.REDIS_URL else _("cache.sqlite3 in DATA_DIR")
    context = {
        **admin.site.each_context(request),
        "title": _("Cache"),
        "cache": cache.statistics(),
        "place": place,
    }
    return TemplateResponse(request, "admin/cache/cache.html", context)
