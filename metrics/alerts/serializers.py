"""Rules, alerts and backtests as JSON, for the API and the commands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from core.timeformat import iso, iso_from_unix

from .backtest import BacktestResult, Episode
from .models import Alert, AlertRule
from .services import FIELDS
from .units import METRIC_SPECS

ALERT_FIELDS = (
    "severity",
    "metric",
    "condition",
    "threshold",
    "window_seconds",
    "value",
    "highest",
    "lowest",
    "reason",
)


def rule_json(rule: AlertRule) -> dict[str, Any]:
    """Without the annotation of `selectors.rules`, one query counts the open alerts."""
    counted = getattr(rule, "firing", None)
    return {
        "id": rule.pk,
        **{name: getattr(rule, name) for name in FIELDS},
        "unit": METRIC_SPECS[rule.metric].unit,
        "firing": rule.alerts.filter(resolved_at=None).count() if counted is None else counted,
        "created_at": iso(rule.created_at),
        "revision": rule.revision,
    }


def alert_json(alert: Alert, now: datetime) -> dict[str, Any]:
    end = alert.resolved_at or now
    return {
        "id": alert.pk,
        "rule": {"id": alert.rule_id, "name": alert.rule_name},
        "program": {"id": alert.program_id, "name": alert.program_name},
        "state": "resolved" if alert.resolved_at else "firing",
        **{name: getattr(alert, name) for name in ALERT_FIELDS},
        "unit": METRIC_SPECS[alert.metric].unit,
        "started_at": iso(alert.started_at),
        "resolved_at": iso(alert.resolved_at),
        "seconds": max(0, round((end - alert.started_at).total_seconds())),
    }


def backtest_json(rule: AlertRule, result: BacktestResult) -> dict[str, Any]:
    asked = result.plan
    return {
        "start": iso_from_unix(asked.start),
        "end": iso_from_unix(asked.end),
        "step": asked.step,
        "tier": asked.tier.name,
        "window_seconds": asked.window,
        "unit": METRIC_SPECS[rule.metric].unit,
        "judged": result.judged,
        "total": result.total,
        "programs": [
            {"id": program.id, "name": program.name, "alerts": [_episode(each) for each in program.episodes]}
            for program in result.programs
        ],
        "truncated": result.is_truncated,
    }


def _episode(episode: Episode) -> dict[str, Any]:
    end = episode.resolved_at
    return {
        "started_at": iso_from_unix(episode.started_at),
        "resolved_at": None if end is None else iso_from_unix(end),
        **{name: getattr(episode, name) for name in ("reason", "value", "highest", "lowest")},
    }
