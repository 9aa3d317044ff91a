"""The pages of history, and what it adds to those of programs."""

from programs.admin import extensions

from . import alert_rules, alerts, history
from .history import SparklineColumn

extensions.panels.append("admin/metrics/program_usage.html")
extensions.columns.append(SparklineColumn())
extensions.notices.append(alerts.notices)

__all__ = ["alert_rules", "alerts", "history"]
