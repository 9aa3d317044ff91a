"""The pages of history, and what it adds to those of programs."""

from programs.admin import extensions

from . import history  # noqa: F401  (registers itself)
from .sparkline import SparklineColumn

extensions.panels.append("admin/metrics/program_usage.html")
extensions.columns.append(SparklineColumn())
