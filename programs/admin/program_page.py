"""The context of the page of one program, above its form."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Min
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from programs import status
from programs.definition.conversion import definition_json
from programs.definition.fields import INFO, RESTART_FIELDS
from programs.definition.types import Mark
from programs.formatting import bytes_text, duration_text, exit_text, percent_text
from programs.forms import GROUPS
from programs.forms.fields import MEGABYTE
from programs.models import Program
from programs.payloads import ProcessStatus
from programs.states import ALIVE, State

from . import extensions
from .actions import buttons
from .columns import cpu_text, memory_text, state_badge, uptime_cell
from .event_text import event_text
from .history import NOTHING, label, value_text
from .live import VERB_TABLE, reason_text

LATEST_EVENTS = 10
LATEST_INCIDENTS = 3
CHOICES = {"stdin": Program.Stdin, "restart_policy": Program.RestartPolicy}


def context(program: Program) -> dict[str, Any]:
    now = status.one_program(program.pk)
    if now is None:  # removed in the meantime
        return {}
    return {
        "program": program,
        "now": now,
        "badge": state_badge(now),
        "reason": reason_text(now),
        "uptime": uptime_cell(now),
        "cpu": cpu_text(now),
        "memory": memory_text(now),
        "pids": ", ".join(str(process["pid"]) for process in now["processes"] if process["pid"]),
        "buttons": buttons(program.pk, program.name, State(now["state"]), labelled=True),
        "verb_table": json.dumps(VERB_TABLE),
        "processes": [_process(process) for process in now["processes"]],
        "waiting": waiting_for_restart(program),
        "has_console": program.stdin == Program.Stdin.CONSOLE,
        "can_scale": program.instances_max > program.instances_min,
        "panels": extensions.panels,
        "notices": [notice for notices in extensions.notices for notice in notices(program)],
        **activity(program),
    }


def _process(process: ProcessStatus) -> dict[str, Any]:
    """A row of the process table. `static/monitor/program_page.js` must produce the same."""
    uptime = process["uptime_seconds"]
    return {
        **process,
        "cpu": percent_text(process["cpu_percent"]) if process["pid"] else NOTHING,
        "memory": bytes_text(process["memory_bytes"]) if process["pid"] else NOTHING,
        "threads": process["threads"] if process["pid"] else NOTHING,
        "uptime": NOTHING if uptime is None else duration_text(uptime),
        "ending": "" if process["pid"] else exit_text(process["exit_code"], process["exit_signal"]),
    }


def activity(program: Program) -> dict[str, Any]:
    return {
        "latest_events": [(event, event_text(event)) for event in program.events.all()[:LATEST_EVENTS]],
        "latest_incidents": program.incidents.all()[:LATEST_INCIDENTS],
    }


def restart_button(program: Program) -> SafeString:
    """For messages. Posts the form of the page, so it works without scripts."""
    return render_to_string("admin/programs/program/restart_now.html", {"program": program})


def waiting_for_restart(program: Program) -> list[str]:
    oldest = program.processes.filter(state__in=ALIVE).aggregate(number=Min("definition_number"))["number"]
    if oldest is None:
        return []
    later = program.revisions.filter(number__gt=oldest).values_list("changes", flat=True)
    return sorted({label(field) for changes in later for field in changes if field in RESTART_FIELDS})


def settings_shown(program: Program) -> list[dict[str, Any]]:
    """The definition as labels and values, for users who may not change it. Secrets are masked."""
    shown = definition_json(program)
    return [
        {"name": name, "rows": [(label(field), _value(field, shown[field])) for field in fields if field in shown]}
        for name, fields in GROUPS
    ]


def _value(field: str, value: Any) -> str:
    if field == "host":
        return value or _("the default host")
    if field in CHOICES:
        return str(CHOICES[field](value).label)
    mark = INFO[field].type.mark
    if value is not None and mark is Mark.BYTES:
        return f"{value / MEGABYTE:g} MB"
    return f"{value_text(value)} s" if mark is Mark.SECONDS else value_text(value)
