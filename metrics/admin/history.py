"""The raw rows of each tier, and the sparkline column of the program list.

Not a Django change list, because that needs a single-column key and counts all rows.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core import replica
from core.timeformat import from_unix, in_utc, time_element
from metrics.models import ProgramUsage, RecordedProgram
from metrics.queries import recent_usage
from metrics.queries.raw_rows import RowKey, RowPage, RowQuery, read_page
from metrics.queries.recent_usage import Sparkline
from metrics.storage.tiers import BY_NAME, RAW, Tier
from programs.admin.events import ReadOnlyAdmin
from programs.formatting import bytes_text, percent_text
from programs.models import Program

NO_DATA = gettext_lazy("No data in the last hour.")
CPU_SUMMARY = gettext_lazy("CPU: average %(average)s, highest minute %(highest)s")
MEMORY_SUMMARY = gettext_lazy("memory: average %(average)s, highest minute %(highest)s")


class SparklineColumn:
    name = "sparkline"
    title = gettext_lazy("Last hour")
    after = "memory"
    script = "monitor/charts/sparkline.js"

    def load(self, programs: Sequence[Program]) -> Mapping[int, Sparkline]:
        return recent_usage.last_hour([program.pk for program in programs], int(time.time()))

    def cell(self, program: Program, found: Sparkline | None) -> SafeString:
        text = describe(found)
        return format_html(
            '<span class="sparkline" role="img" aria-label="{}" title="{}" '
            'data-sparkline="{}" data-start="{}" data-step="{}" data-cpu="{}" data-memory="{}"></span>',
            text,
            text,
            program.pk,
            found.start if found else "",
            recent_usage.STEP,
            json.dumps(found.cpu if found else []),
            json.dumps(found.memory if found else []),
        )


def describe(found: Sparkline | None) -> str:
    if found is None:
        return str(NO_DATA)
    cpu = [value for value in found.cpu if value is not None]
    memory = [value for value in found.memory if value is not None]
    parts = []
    if cpu:
        facts = {"average": percent_text(sum(cpu) / len(cpu)), "highest": percent_text(max(cpu))}
        parts.append(CPU_SUMMARY % facts)
    if memory:
        facts = {"average": bytes_text(sum(memory) / len(memory)), "highest": bytes_text(max(memory))}
        parts.append(MEMORY_SUMMARY % facts)
    return "; ".join(parts)


ROW_KEY = re.compile(r"(\d{1,18})\.(\d{1,18})\.(\d{1,18})")
TIER_TITLES = {
    "raw": gettext_lazy("Points"),
    "minute": gettext_lazy("Minutes"),
    "ten_minutes": gettext_lazy("Ten minutes"),
    "hour": gettext_lazy("Hours"),
    "day": gettext_lazy("Days"),
}
MISSING = "—"


class HistoryForm(forms.Form):
    """The filters of the page."""

    program = forms.ModelChoiceField(
        Program.objects.order_by("name"),
        label=gettext_lazy("Program"),
        required=False,
        empty_label=gettext_lazy("All programs"),
        widget=UnfoldAdminSelectWidget(),
    )
    start = forms.DateTimeField(
        label=gettext_lazy("From (UTC)"),
        required=False,
        widget=UnfoldAdminTextInputWidget({"type": "datetime-local"}),
    )
    end = forms.DateTimeField(
        label=gettext_lazy("To (UTC)"),
        required=False,
        widget=UnfoldAdminTextInputWidget({"type": "datetime-local"}),
    )

    def row_query(self, tier: Tier, now: int, below: RowKey | None) -> RowQuery:
        """The rows to show; all by default. Invalid values are ignored, and the form shows an error."""
        given = self.cleaned_data if self.is_valid() else {}
        program, start, end = given.get("program"), given.get("start"), given.get("end")
        oldest, newest = now - tier.kept_seconds - tier.period_seconds, now + tier.width
        return RowQuery(
            tier,
            max(oldest, _seconds(start)) if start else oldest,
            min(newest, _seconds(end)) if end else newest,
            program.pk if program else None,
            below,
        )


@admin.register(RecordedProgram)
class HistoryAdmin(ReadOnlyAdmin):
    """One page for all tiers, instead of a list of programs with history."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path("", self.admin_site.admin_view(self.changelist_view), name="metrics_recordedprogram_changelist")
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        tier = BY_NAME.get(request.GET.get("tier", ""), RAW)
        form = HistoryForm(request.GET)
        query = form.row_query(tier, int(time.time()) + 1, _parse_row_key(request.GET.get("below", "")))
        found = replica.read(lambda: read_page(query))
        context = {
            **self.admin_site.each_context(request),
            "title": _("History"),
            "tiers": [(name, title, _query(request, tier=name)) for name, title in TIER_TITLES.items()],
            "tier": tier,
            "form": form,
            "rows": _cells(found.rows),
            "older": _older_link(request, found),
            "newest": _query(request) if "below" in request.GET else "",
        }
        return TemplateResponse(request, "admin/metrics/history.html", context)


def _seconds(at: datetime) -> int:
    return int(in_utc(at).timestamp())


def _parse_row_key(text: str) -> RowKey | None:
    found = ROW_KEY.fullmatch(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _older_link(request: HttpRequest, found: RowPage) -> str:
    return _query(request, below=".".join(map(str, found.below))) if found.below else ""


def _query(request: HttpRequest, **changes: str) -> str:
    """The page's query string with `changes`, from the first row unless `below` is given."""
    kept = {name: request.GET[name] for name in ("tier", "program", "start", "end") if request.GET.get(name)}
    return f"?{urlencode(kept | changes)}"


def _cells(rows: Sequence[ProgramUsage]) -> list[tuple[Program | None, int, list[Any]]]:
    """Per row: the program (None: removed), its id, and the cells."""
    programs = Program.objects.in_bulk({row.program_id for row in rows})
    return [(programs.get(row.program_id), row.program_id, _row_cells(row)) for row in rows]


def _row_cells(row: ProgramUsage) -> list[Any]:
    average = percent_text(100 * row.cpu_ms / row.covered_ms) if row.covered_ms else MISSING
    return [
        time_element(from_unix(row.timestamp)),
        row.count,
        average,
        f"{percent_text(row.cpu_min / 100)} to {percent_text(row.cpu_max / 100)}",
        bytes_text(row.memory_sum / row.count) if row.count else MISSING,
        f"{bytes_text(row.memory_min)} to {bytes_text(row.memory_max)}",
        row.threads_max,
        MISSING if row.open_files_max is None else row.open_files_max,
        MISSING if row.read_bytes is None else bytes_text(row.read_bytes),
        MISSING if row.write_bytes is None else bytes_text(row.write_bytes),
    ]
