"""Writes alerts and their events, each pair in one transaction.

Between decision and write, a rule may change, a program may be removed, and an agent that was killed may have
written the same. Decisions that no longer apply are skipped; the next evaluation decides again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from django.db import IntegrityError, transaction

from core import bulk_sql
from core.timeformat import from_unix
from programs import events
from programs.events import AGENT
from programs.models import Host, Program

from .evaluation import Decisions, NewAlert, Resolution
from .models import Alert, AlertRule
from .units import METRIC_SPECS

log = structlog.get_logger(__name__)
RULES = f"SELECT id, revision FROM {AlertRule._meta.db_table} WHERE enabled = %s ORDER BY id "  # noqa: S608


def write(decisions: Decisions, host: Host) -> None:
    """Call it in the journal's transaction."""
    for resolution in decisions.resolutions:
        _resolve(resolution)
    _fire_all(decisions.firings, host)
    for alert in decisions.updated:
        open_ = Alert.objects.filter(pk=alert.pk, resolved_at=None)
        open_.update(highest=alert.highest, lowest=alert.lowest)


# --- Opening --------------------------------------------------------------------------------------------


def _fire_all(firings: list[NewAlert], host: Host) -> None:
    if not firings:
        return
    # Its alert would not commit if a rule were removed meanwhile. Changes of a rule do not wait for this lock.
    rules: dict[int, int] = dict(bulk_sql.fetch(RULES + bulk_sql.lock_clause("FOR KEY SHARE"), [True]))
    programs = Program.objects.in_bulk({firing.program for firing in firings})
    open_ = set(Alert.objects.filter(resolved_at=None).values_list("rule_id", "program_id"))
    for firing in firings:
        program = programs.get(firing.program)
        is_unchanged = rules.get(firing.rule.pk) == firing.rule.revision
        if program and is_unchanged and (firing.rule.pk, program.pk) not in open_:
            _fire(firing, program, host)


def _fire(firing: NewAlert, program: Program, host: Host) -> None:
    rule, at = firing.rule, from_unix(firing.at)
    alert = Alert(
        rule=rule, rule_name=rule.name, program=program, program_name=program.name, host=host,
        severity=rule.severity, metric=rule.metric, condition=rule.condition, threshold=rule.threshold,
        window_seconds=rule.window_seconds, value=firing.value, highest=firing.value, lowest=firing.value,
        started_at=at,
    )  # fmt: skip
    try:
        with transaction.atomic():
            alert.save(force_insert=True)
    except IntegrityError as error:  # the program just moved, and the agent of its new host opened it
        log.warning("alerts.duplicate_skipped", rule=rule.name, program=program.name, error=str(error))
        return
    data = {**_event_data(alert), "value": firing.value, "window_seconds": rule.window_seconds}
    events.record("alert.firing", program=program, actor=AGENT, at=at, data=data, severity=rule.severity)


# --- Resolving ---------------------------------------------------------------------------------------------


def _resolve(resolution: Resolution) -> None:
    alert, at = resolution.alert, from_unix(resolution.at)
    at = max(at, alert.started_at)  # the clock may have been set back
    if not Alert.objects.filter(pk=alert.pk, resolved_at=None).update(resolved_at=at, reason=resolution.reason):
        return
    program = Program.everything.filter(pk=alert.program_id or 0).first()
    data = {**_event_data(alert), **_resolution_data(resolution, at), "ended_severity": alert.severity}
    events.record(
        "alert.resolved", program=program, program_name=alert.program_name, actor=AGENT, at=at, data=data
    )


def _resolution_data(resolution: Resolution, at: datetime) -> dict[str, Any]:
    alert = resolution.alert
    known = {} if resolution.value is None else {"value": resolution.value}
    return {
        **known,
        "highest": alert.highest,
        "lowest": alert.lowest,
        "seconds": round((at - alert.started_at).total_seconds()),
        "reason": resolution.reason,
        "why": str(Alert.Reason(resolution.reason).label),
    }


def _event_data(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.pk,
        "rule": alert.rule_name,
        "rule_id": alert.rule_id,
        "metric": alert.metric,
        "measure": str(alert.get_metric_display()),
        "unit": METRIC_SPECS[alert.metric].unit,
        "condition": alert.condition,
        "threshold": alert.threshold,
    }
