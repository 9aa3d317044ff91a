"""The log lines of `serve` in the shape of the other processes', without their libraries (15 MB)."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class _Line(logging.Formatter):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self._is_json = kind == "json"

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        level, event = record.levelname.lower(), record.getMessage()
        if not self._is_json:
            return f"{at} [{level}] {event} [{record.name}] process=serve"
        fields = {"event": event, "logger": record.name, "level": level, "process": "serve", "timestamp": at}
        return json.dumps(fields, ensure_ascii=False)


def configure(kind: str) -> None:
    """Sends warnings and errors to stderr; `kind` is LOG_FORMAT."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line(kind))
    logging.getLogger("monitor_site.serving").handlers = [handler]
    logging.getLogger("monitor_site.serving").propagate = False
