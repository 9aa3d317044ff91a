"""The column with the last hour of each program; `static/monitor/charts/sparkline.js` draws it and goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics.queries import sparklines
from metrics.queries.sparklines import Sparkline
from programs.formatting import bytes_text, percent_text
from programs.models import Program


class SparklineColumn:
    name = "sparkline"
    title = gettext_lazy("Last hour")
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
        return _("Nothing was recorded in the last hour.")
    cpu = [value for value in found.cpu if value is not None]
    memory = [value for value in found.memory if value is not None]
    parts = []
    if cpu:
        facts = {"average": percent_text(sum(cpu) / len(cpu)), "highest": percent_text(max(cpu))}
        parts.append(_("CPU: average %(average)s, highest minute %(highest)s") % facts)
    if memory:
        facts = {"average": bytes_text(sum(memory) / len(memory)), "highest": bytes_text(max(memory))}
        parts.append(_("memory: average %(average)s, highest minute %(highest)s") % facts)
    return "; ".join(parts)
