"""Columns of the program list. `static/monitor/live_status.js` updates the cells with `data-live`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from programs.formatting import bytes_text, duration_text, percent_text
from programs.models import Program
from programs.payloads import ProgramStatus
from programs.states import State

from .actions import buttons
from .history import NOTHING
from .live import reason_text


class Row(Protocol):
    """`live` is None if the program was removed while the page was built."""

    pk: Any
    live: ProgramStatus | None


def live_cell(program_id: int, name: str, text: object) -> SafeString:
    return format_html('<span data-live="{}" data-program="{}">{}</span>', name, program_id, text)


def state_badge(shown: ProgramStatus) -> SafeString:
    return format_html(
        '<span class="state" data-live="state" data-program="{}" data-state="{}" data-health="{}">{}</span>',
        shown["id"],
        shown["state"],
        shown["health"] or "",
        shown["state"],
    )


def uptime_cell(shown: ProgramStatus) -> SafeString:
    """Includes the start time, so that the browser can keep counting."""
    uptime, started_at = shown["uptime_seconds"], shown["started_at"]
    is_up = uptime is not None and started_at is not None
    return format_html(
        '<span data-live="uptime" data-program="{}" data-since="{}">{}</span>',
        shown["id"],
        int(datetime.fromisoformat(started_at or "").timestamp()) if is_up else "",
        duration_text(uptime or 0) if is_up else NOTHING,
    )


def has_process(shown: ProgramStatus | None) -> bool:
    return shown is not None and any(process["pid"] for process in shown["processes"])


def cpu_text(shown: ProgramStatus | None) -> str:
    return percent_text(shown["cpu_percent"]) if shown and has_process(shown) else NOTHING


def memory_text(shown: ProgramStatus | None) -> str:
    return bytes_text(shown["memory_bytes"]) if shown and has_process(shown) else NOTHING


class ProgramColumns:
    """Display methods without database queries."""

    @admin.display(description=_("Name"), ordering="name")
    def title(self, program: Program) -> SafeString:
        tags = format_html_join("", '<span class="tag">{}</span>', ((tag,) for tag in program.tags))
        about = format_html('<span class="program-about">{}</span>', program.description)
        return format_html('<span class="program-name">{}</span>{}{}', program.name, tags, about)

    @admin.display(description=_("State"), ordering="rank")
    def state(self, row: Row) -> SafeString | str:
        if row.live is None:
            return NOTHING
        reason = reason_text(row.live)
        cell = format_html(
            '<span data-live="reason" data-program="{}" title="{}">{}</span>', row.pk, reason, reason
        )
        return format_html("{} {}", state_badge(row.live), cell)

    @admin.display(description=_("CPU"), ordering="-cpu_total")
    def cpu(self, row: Row) -> SafeString:
        return live_cell(row.pk, "cpu", cpu_text(row.live))

    @admin.display(description=_("Memory"), ordering="-memory_total")
    def memory(self, row: Row) -> SafeString:
        return live_cell(row.pk, "memory", memory_text(row.live))

    @admin.display(description=_("Uptime"), ordering="oldest_start")
    def uptime(self, row: Row) -> SafeString | str:
        return uptime_cell(row.live) if row.live else NOTHING

    @admin.display(description=_("Restarts"), ordering="-restarts_total")
    def restarts(self, row: Row) -> SafeString | str:
        return live_cell(row.pk, "restarts", row.live["restarts"]) if row.live else NOTHING

    @admin.display(description=_("Instances"))
    def instances(self, row: Row) -> SafeString | str:
        if row.live is None:
            return NOTHING
        return live_cell(row.pk, "instances", "{running}/{desired}".format(**row.live["instances"]))

    @admin.display(description=_("Host"), ordering="host__name")
    def on_host(self, row: Row) -> str:
        return (row.live and row.live["host"]) or NOTHING

    @admin.display(description=_("Actions"))
    def buttons(self, row: Row) -> SafeString | str:
        if row.live is None:
            return NOTHING
        made = buttons(row.pk, row.live["name"], State(row.live["state"]))
        return format_html('<span class="verbs">{}</span>', made)
