"""Defaults of the definition's list fields (a migration needs them importable by name)."""

from __future__ import annotations

from typing import Any


def success_exit_codes() -> list[int]:
    return [0]


def stop_ladder() -> list[dict[str, Any]]:
    return [{"step": "signal:TERM", "seconds": 10}]
