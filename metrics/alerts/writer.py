"""Alerts and their events into the database, each pair in one transaction.

Between deciding and writing a rule may be changed and a program removed, and another agent may have been killed
after it wrote the same. So what no longer fits is left out here; the next look decides anew.
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

from .evaluation import Decisions, Ending, Firing
from .models import Alert, AlertRule
from .units import LEVELS

log = structlog.get_logger(__name__)
RULES = f"SELECT id, revision FROM {AlertRule._meta.db_table} WHERE enabled = %s ORDER BY id "  # noqa: S608


def write(decisions: Decisions, host: Host) -> None:
    """Inside the transaction that the journal makes."""
    for ending in decisions.endings:
        _end(ending)
    _fire_all(decisions.firings, host)
    for alert in decisions.followed:
        open_ = Alert.objects.filter(pk=alert.pk, resolved_at=None)
        open_.update(highest=alert.highest, lowest=alert.lowest)


# --- Opening --------------------------------------------------------------------------------------------


def _fire_all(firings: list[Firing], host: Host) -> None:
    if not firings:
        return
    # Its alert would not commit if a rule were removed meanwhile. Changes of a rule do not wait for this lock.
    rules: dict[int, int] = dict(bulk_sql.fetch(RULES + bulk_sql.locking("FOR KEY SHARE"), [True]))
    programs = Program.objects.in_bulk({firing.program for firing in firings})
    open_ = set(Alert.objects.filter(resolved_at=None).values_list("rule_id", "program_id"))
    for firing in firings:
        program = programs.get(firing.program)
        is_as_decided = rules.get(firing.rule.pk) == firing.rule.revision
        if program and is_as_decided and (firing.rule.pk, program.pk) not in open_:
            _fire(firing, program, host)


def _fire(firing: Firing, program: Program, host: Host) -> None:
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
    except IntegrityError as error:  # opened by the agent of another host, to which the program has just moved
        log.warning("alerts.not_opened", rule=rule.name, program=program.name, error=str(error))
        return
    data = {**_told(alert), "value": firing.value, "window_seconds": rule.window_seconds}
    events.record("alert.firing", program=program, actor=AGENT, at=at, data=data, severity=rule.severity)


# --- Ending ---------------------------------------------------------------------------------------------


def _end(ending: Ending) -> None:
    alert, at = ending.alert, from_unix(ending.at)
    at = max(at, alert.started_at)  # a clock may have been set back
    if not Alert.objects.filter(pk=alert.pk, resolved_at=None).update(resolved_at=at, reason=ending.reason):
        return
    program = Program.everything.filter(pk=alert.program_id or 0).first()
    data = {**_told(alert), **_course(ending, at), "ended_severity": alert.severity}
    events.record(
        "alert.resolved", program=program, program_name=alert.program_name, actor=AGENT, at=at, data=data
    )


def _course(ending: Ending, at: datetime) -> dict[str, Any]:
    alert = ending.alert
    known = {} if ending.value is None else {"value": ending.value}
    return {
        **known,
        "highest": alert.highest,
        "lowest": alert.lowest,
        "seconds": round((at - alert.started_at).total_seconds()),
        "reason": ending.reason,
        "why": str(Alert.Reason(ending.reason).label),
    }


def _told(alert: Alert) -> dict[str, Any]:
    """What both events say; `programs.descriptions` makes a line of it."""
    return {
        "alert": alert.pk,
        "rule": alert.rule_name,
        "rule_id": alert.rule_id,
        "metric": alert.metric,
        "measure": str(alert.get_metric_display()),
        "unit": LEVELS[alert.metric].unit,
        "condition": alert.condition,
        "threshold": alert.threshold,
    }
