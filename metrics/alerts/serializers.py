"""Rules and alerts as JSON: the same for the API and for commands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from core.timeformat import iso, iso_from_unix

from .backtest import Episode, Outcome
from .models import Alert, AlertRule
from .services import FIELDS
from .units import LEVELS

OF_ALERT = (
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
    """Of a rule that `selectors.rules` has found; of another one the number of open alerts is asked for."""
    counted = getattr(rule, "firing", None)
    return {
        "id": rule.pk,
        **{name: getattr(rule, name) for name in FIELDS},
        "unit": LEVELS[rule.metric].unit,
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
        **{name: getattr(alert, name) for name in OF_ALERT},
        "unit": LEVELS[alert.metric].unit,
        "started_at": iso(alert.started_at),
        "resolved_at": iso(alert.resolved_at),
        "seconds": max(0, round((end - alert.started_at).total_seconds())),
    }


def outcome_json(rule: AlertRule, outcome: Outcome) -> dict[str, Any]:
    asked = outcome.plan
    return {
        "start": iso_from_unix(asked.start),
        "end": iso_from_unix(asked.end),
        "step": asked.step,
        "tier": asked.tier.name,
        "window_seconds": asked.window,
        "unit": LEVELS[rule.metric].unit,
        "judged": outcome.judged,
        "total": outcome.total,
        "programs": [
            {"id": one.id, "name": one.name, "alerts": [_episode(each) for each in one.episodes]}
            for one in outcome.programs
        ],
        "truncated": outcome.is_cut,
    }


def _episode(episode: Episode) -> dict[str, Any]:
    end = episode.resolved_at
    return {
        "started_at": iso_from_unix(episode.started_at),
        "resolved_at": None if end is None else iso_from_unix(end),
        **{name: getattr(episode, name) for name in ("reason", "value", "highest", "lowest")},
    }
