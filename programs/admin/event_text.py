"""One line a person understands about an event, from its type and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from programs.descriptions import quantity, summary
from programs.formatting import duration_text
from programs.models import ProgramEvent

from .history import label

Data = Mapping[str, Any]


def event_text(event: ProgramEvent) -> str:
    """What happened. Where its type does not say all, without the name of the program, which stands beside it."""
    data = event.data if isinstance(event.data, dict) else {}
    text = "" if event.type in _IN_A_SENTENCE else _TEXTS.get(event.type, _said)(data)
    return text or summary(event.type, event.program_name, data)


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
    return "" if None in facts.values() else _("next attempt in %(seconds)s s (attempt %(attempt)s)") % facts


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
    return f"{data['from']} → {data['to']}" if data.keys() >= {"from", "to"} else ""


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
    return f"{data['rule']}: {_amounts(data)}" if "rule" in data else ""


def _resolved(data: Data) -> str:
    if "rule" not in data:
        return ""
    lasted = data.get("seconds")
    text = f"{data['rule']}: {data.get('why', '')}"
    return text + (f" ({_('after')} {duration_text(lasted)})" if isinstance(lasted, int | float) else "")


# About something else than a program, which only the sentence names.
_IN_A_SENTENCE = frozenset(
    {"agent.started", "agent.lost", "plugin.succeeded", "plugin.failed", "webhook.disabled", "webhook.test"}
)
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
