"""Payloads for tests of formats: a typical one, and the worst possible one."""

from __future__ import annotations

from typing import Any

LINK = "http://nas:8000/admin/programs/incident/7/change/"
CRASH: dict[str, Any] = {
    "id": "evt_1",
    "type": "program.crashed",
    "timestamp": "2026-01-02T12:03:04.500Z",
    "seq": 41,
    "data": {
        "program": {"id": 3, "name": "my_web", "description": "shop", "tags": ["a", "b"]},
        "process": {
            "index": 2,
            "pid": 4711,
            "exit_code": 1,
            "exit_signal": None,
            "meaning": "Exit code 1: a general error",
            "uptime_seconds": 4012.2,
            "restarts_last_hour": 3,
            "log_lines": ["Traceback <most recent>", "ValueError: a & b *or* _c_"],
        },
        "event": {"type": "program.crashed", "severity": "error", "actor": "agent", "data": {"delay_seconds": 0}},
        "host": "nas",
        "summary": "my_web crashed: exit code 1 after 1 h 6 min; restarting now",
        "link": LINK,
    },
}
# Attacks every markup at once.
HOSTILE = (
    '<@everyone> <!channel> [x](http://e.example) **b** _i_ ~s~ `c` ```f``` & "q" \\ $NAME {{DATE()}} 🟢é'
    "\n\r\x1b[31m\x00"
)


def hostile(length: int) -> str:
    return (HOSTILE * (length // len(HOSTILE) + 1))[:length]


def worst_body() -> dict[str, Any]:
    process = {
        "index": 999,
        "exit_code": 2**62,
        "meaning": hostile(3000),
        "uptime_seconds": 1e14,
        "restarts_last_hour": 10**9,
        "log_lines": [hostile(500)] * 10,
    }
    data = {
        "program": {"id": 3, "name": hostile(100)},
        "process": process,
        "event": {"severity": "error", "actor": hostile(150), "data": {"meaning": hostile(100)}},
        "host": hostile(100),
        "summary": hostile(3000),
        "link": LINK,
        "late_seconds": 1e9,
    }
    return {**CRASH, "data": data}


def crash_body(**changes: Any) -> dict[str, Any]:
    """CRASH with other values in its `data`; None removes one."""
    data = {**CRASH["data"], **changes}
    return {**CRASH, "data": {key: value for key, value in data.items() if value is not None}}
