"""Admin pages of history and alerts, and what they add to the pages of programs."""

from programs.admin import extensions

from . import alert_rules, alerts, history
from .history import SparklineColumn

extensions.panels.append("admin/metrics/program_usage.html")
extensions.columns.append(SparklineColumn())
extensions.notices.append(alerts.notices)

__all__ = ["alert_rules", "alerts", "history"]
