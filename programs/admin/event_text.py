"""The text of an event in the admin."""

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
    """Without the type and the name of the program where columns of their own show them."""
    data = event.data if isinstance(event.data, dict) else {}
    text = "" if event.type in _FULL_SUMMARY else _TEXTS.get(event.type, _reason)(data)
    return text or summary(event.type, event.program_name, data)


def _reason(data: Data) -> str:
    return next(
        (str(data[key]) for key in ("meaning", "reason", "why", "summary", "error", "detail") if data.get(key)), ""
    )


def _exit(data: Data) -> str:
    uptime = data.get("uptime_seconds")
    return _reason(data) + (f" ({_('after')} {duration_text(uptime)})" if isinstance(uptime, int | float) else "")


def _process(data: Data) -> str:
    return _("process %(pid)s") % {"pid": data["pid"]} if data.get("pid") else _reason(data)


def _backoff(data: Data) -> str:
    facts = {"seconds": data.get("delay_seconds"), "attempt": data.get("attempt")}
    return "" if None in facts.values() else _("next attempt in %(seconds)s s (attempt %(attempt)s)") % facts


def _stopped(data: Data) -> str:
    parts = [str(data[key]) for key in ("step",) if data.get(key)]
    if data.get("seconds") is not None:
        parts.append(_("after %(seconds)s s") % {"seconds": data["seconds"]})
    if data.get("tree_killed"):
        parts.append(_("its process tree was killed"))
    return ", ".join(parts) or _reason(data)


def _updated(data: Data) -> str:
    return ", ".join(label(field) for field in data.get("changes", {}))


def _scaled(data: Data) -> str:
    return f"{data['from']} → {data['to']}" if data.keys() >= {"from", "to"} else ""


def _input(data: Data) -> str:
    return str(data.get("text", "")).strip() + (f" ({data['error']})" if data.get("error") else "")


def _amounts(data: Data) -> str:
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


# Not about a program; only the full summary names the subject.
_FULL_SUMMARY = frozenset(
    {"agent.started", "agent.lost", "plugin.succeeded", "plugin.failed", "webhook.disabled", "webhook.test"}
)
_TEXTS: dict[str, Callable[[Data], str]] = {
    "program.crashed": _exit,
    "program.exited": _exit,
    "program.started": _process,
    "program.restarted": _process,
    "program.running": _process,
    "program.adopted": _process,
    "program.backoff": _backoff,
    "program.stopped": _stopped,
    "program.updated": _updated,
    "program.scaled": _scaled,
    "program.input": _input,
    "alert.firing": _firing,
    "alert.resolved": _resolved,
}
