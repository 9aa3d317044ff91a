"""One line a person understands about an event, from its type and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from programs.formatting import duration_text
from programs.meaning import quantity
from programs.models import ProgramEvent

from .history import label

Data = Mapping[str, Any]


def event_text(event: ProgramEvent) -> str:
    """What the event tells beyond its type; empty when that says everything."""
    data = event.data if isinstance(event.data, dict) else {}
    return _TEXTS.get(event.type, _said)(data)


def _said(data: Data) -> str:
    return next(
        (str(data[key]) for key in ("meaning", "reason", "why", "summary", "error", "detail") if data.get(key)), ""
    )


def _ended(data: Data) -> str:
    lived = data.get("uptime_seconds")
    return _said(data) + (f" ({_('after')} {duration_text(lived)})" if isinstance(lived, int | float) else "")


def _begun(data: Data) -> str:
    return _("process %(pid)s") % {"pid": data["pid"]} if data.get("pid") else _said(data)


def _backoff(data: Data) -> str:
    facts = {"seconds": data.get("delay_seconds"), "attempt": data.get("attempt")}
    return _("next attempt in %(seconds)s s (attempt %(attempt)s)") % facts


def _stopped(data: Data) -> str:
    parts = [str(data[key]) for key in ("step",) if data.get(key)]
    if data.get("seconds") is not None:
        parts.append(_("after %(seconds)s s") % {"seconds": data["seconds"]})
    if data.get("tree_killed"):
        parts.append(_("its tree was killed"))
    return ", ".join(parts) or _said(data)


def _changed(data: Data) -> str:
    return ", ".join(label(field) for field in data.get("changes", {}))


def _scaled(data: Data) -> str:
    return f"{data.get('from')} → {data.get('to')}"


def _typed(data: Data) -> str:
    return str(data.get("text", "")).strip() + (f" ({data['error']})" if data.get("error") else "")


def _amounts(data: Data) -> str:
    """`CPU 97.5 % (above 90 %)`, as far as it is known."""
    unit = str(data.get("unit", ""))
    value, limit = data.get("value"), data.get("threshold")
    parts = [str(data.get("measure", "")), quantity(value, unit) if isinstance(value, int | float) else ""]
    if isinstance(limit, int | float):
        parts.append(f"({data.get('condition', '')} {quantity(limit, unit)})")
    return " ".join(filter(None, parts))


def _firing(data: Data) -> str:
    return f"{data.get('rule', '')}: {_amounts(data)}"


def _resolved(data: Data) -> str:
    lasted = data.get("seconds")
    text = f"{data.get('rule', '')}: {data.get('why', '')}"
    return text + (f" ({_('after')} {duration_text(lasted)})" if isinstance(lasted, int | float) else "")


_TEXTS: dict[str, Callable[[Data], str]] = {
    "program.crashed": _ended,
    "program.exited": _ended,
    "program.started": _begun,
    "program.restarted": _begun,
    "program.running": _begun,
    "program.adopted": _begun,
    "program.backoff": _backoff,
    "program.stopped": _stopped,
    "program.updated": _changed,
    "program.scaled": _scaled,
    "program.input": _typed,
    "alert.firing": _firing,
    "alert.resolved": _resolved,
}
