"""The column with the last hour of each program; `static/monitor/charts/sparkline.js` draws it and goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from metrics.queries import sparklines
from metrics.queries.sparklines import Sparkline
from programs.formatting import bytes_text, percent_text
from programs.models import Program

NO_DATA = _("No data in the last hour.")
CPU_SUMMARY = _("CPU: average %(average)s, highest minute %(highest)s")
MEMORY_SUMMARY = _("memory: average %(average)s, highest minute %(highest)s")


class SparklineColumn:
    name = "sparkline"
    title = _("Last hour")
    after = "memory"
    script = "monitor/charts/sparkline.js"

    def load(self, programs: Sequence[Program]) -> Mapping[int, Sparkline]:
        return sparklines.last_hour([program.pk for program in programs], int(time.time()))

    def cell(self, program: Program, found: Sparkline | None) -> SafeString:
        text = words(found)
        return format_html(
            '<span class="sparkline" role="img" aria-label="{}" title="{}" '
            'data-sparkline="{}" data-start="{}" data-step="{}" data-cpu="{}" data-memory="{}"></span>',
            text,
            text,
            program.pk,
            found.start if found else "",
            sparklines.STEP,
            json.dumps(found.cpu if found else []),
            json.dumps(found.memory if found else []),
        )


def words(found: Sparkline | None) -> str:
    """What the picture shows."""
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
