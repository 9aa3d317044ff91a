"""Texts for exits, events and durations."""

from __future__ import annotations

import math
from typing import Any

import pytest

from programs import events
from programs.descriptions import duration, exit_meaning, ordinal, quantity, summary
from programs.descriptions.exits import EXIT_CODES, NTSTATUS, RUNTIME_CODES, SIGNALS
from programs.descriptions.summaries import SUMMARIES
from programs.models import Incident

# --- Exits ---


@pytest.mark.parametrize(
    ("code", "signal", "text"),
    [
        (0, None, "Exited normally (exit code 0)"),
        (1, None, "Exit code 1: a general error"),
        (3, None, "Exit code 3: specific to this program"),
        (78, None, "Exit code 78: invalid configuration"),
        (99, None, "Exit code 99: specific to this program"),
        (126, None, "Exit code 126: the command was found but cannot be executed"),
        (127, None, "Exit code 127: command not found"),
        (137, None, "Exit code 137 (128+9, SIGKILL): killed, often because memory ran out"),
        (139, None, "Exit code 139 (128+11, SIGSEGV): invalid memory access"),
        (143, None, "Exit code 143 (128+15, SIGTERM): stopped on request"),
        (200, None, "Exit code 200: specific to this program"),
        (255, None, "Exit code 255: unspecified error"),
        (None, "SIGSEGV", "Killed by SIGSEGV: invalid memory access (segmentation fault)"),
        (None, "kill", "Killed by SIGKILL: killed by a user or by the system"),
        (None, "SIG35", "Killed by SIG35"),
        (None, None, "Exit status unknown"),
    ],
)
def test_an_exit_is_explained(code: int | None, signal: str | None, text: str) -> None:
    assert exit_meaning(code, signal, False).startswith(text)


@pytest.mark.parametrize(
    ("executable", "code", "text"),
    [
        ("node", 13, "Exit code 13: a top-level await"),
        ("/usr/bin/python3.11", 120, "Exit code 120: Python could not flush"),
        ("C:/Python/python.exe", 1, "Exit code 1: uncaught exception"),
        ("sh", 13, "Exit code 13: specific to this program"),
        ("node", 78, "Exit code 78: invalid configuration"),
        ("", 7, "Exit code 7: specific to this program"),
    ],
)
def test_codes_of_known_runtimes_are_explained(executable: str, code: int, text: str) -> None:
    assert exit_meaning(code, None, executable=executable).startswith(text)


@pytest.mark.parametrize("code", [0xC0000005, 0xC0000005 - 2**32])
def test_a_windows_status_is_explained_with_or_without_sign(code: int) -> None:
    meaning = exit_meaning(code, None, False)
    assert meaning == "Exit code 0xC0000005: invalid memory access (access violation)"


def test_out_of_memory_is_reported_instead_of_the_signal() -> None:
    assert "ran out of memory" in exit_meaning(None, "SIGKILL", True)


def test_every_explanation_fits_the_database_column() -> None:
    codes = {*EXIT_CODES, *NTSTATUS, *range(-300, 300)}
    longest = Incident._meta.get_field("meaning").max_length or 0
    assert all(0 < len(exit_meaning(code, None, False)) <= longest for code in codes)
    assert all(len(exit_meaning(None, name, False)) <= longest for name, _ in SIGNALS.values())
    for runtime, meanings in RUNTIME_CODES.items():
        assert all(len(exit_meaning(code, None, executable=runtime)) <= longest for code in meanings)


# --- Events ---


RESTARTING_NOW = {"delay_seconds": 0, "restarts": 2, "window_seconds": 600}


@pytest.mark.parametrize(
    ("type_", "data", "line"),
    [
        (
            "program.crashed",
            {"exit_signal": "SIGKILL", "uptime_seconds": 11_520, **RESTARTING_NOW},
            "web crashed: killed by SIGKILL after 3 h 12 min; restarting now (2nd restart in 10 min)",
        ),
        (
            "program.crashed",
            {"exit_code": 1, "exit_signal": None, "uptime_seconds": 0.4, "delay_seconds": 8.2},
            "web crashed: exit code 1 after 400 ms; restarting in 8.2 s",
        ),
        (
            "program.crashed",
            {"exit_signal": "SIGKILL", "out_of_memory": True, "uptime_seconds": 60},
            "web crashed: killed because memory ran out after 1 min",
        ),
        (
            "program.crashed",
            {"exit_code": None, "exit_signal": None, "meaning": "Command not found: foo", "uptime_seconds": 0},
            "web crashed: command not found: foo after 0 s",
        ),
        ("program.crashed", {"exit_code": -1_073_741_819}, "web crashed: exit code 0xC0000005"),
        ("program.exited", {"exit_code": 0, "uptime_seconds": 5}, "web exited normally: exit code 0 after 5 s"),
        ("program.exited", {"why": "the machine was restarted"}, "web exited: the machine was restarted"),
        ("program.started", {"pid": 4711, "restarts": 0}, "web started (pid 4711)"),
        ("program.running", {"pid": None}, "web is running"),
        ("program.restarted", {"pid": 1, "restarts": 3}, "web was restarted (3rd restart)"),
        ("program.adopted", {"pid": 7}, "web kept running and was adopted (pid 7)"),
        (
            "program.backoff",
            {"delay_seconds": 4, "attempt": 1},
            "web will be restarted in 4 s (attempt 1)",
        ),
        ("program.fatal", {"reason": "11 restarts"}, "web failed permanently: 11 restarts"),
        ("program.stopping", {"why": "unhealthy"}, "web is being stopped: unhealthy"),
        ("program.stopped", {"step": "signal:TERM", "seconds": 1.25}, "web stopped after 1.2 s (signal:TERM)"),
        (
            "program.stopped",
            {"step": "signal:KILL", "seconds": 10, "tree_killed": 1},
            "web had to be killed after 10 s; 1 process of its tree had to be killed",
        ),
        ("program.unhealthy", {"detail": "http: HTTP 503"}, "web is unhealthy: http: HTTP 503"),
        ("program.healthy", {}, "web is healthy"),
        ("program.scaled", {"from": 1, "to": 3}, "web was scaled from 1 to 3 instances"),
        (
            "program.updated",
            {"changes": {"command": ["a", "b"], "nice": [0, 1]}},
            "web was updated: command, nice",
        ),
        ("program.input", {"text": "say\n", "error": "busy"}, "web received input: say (failed: busy)"),
        (
            "alert.firing",
            {"rule": "hot", "value": 95.5, "threshold": 90},
            "Alert hot for web: 95.5 (threshold 90)",
        ),
        (
            "alert.firing",
            {
                "rule": "hot",
                "value": 95.5,
                "threshold": 90,
                "unit": "percent",
                "measure": "CPU",
                "condition": "above",
                "window_seconds": 300,
            },
            "Alert hot for web: CPU 95.5 % over 5 min (above 90 %)",
        ),
        (
            "alert.firing",
            {"rule": "leak", "value": 2 * 1024**3, "threshold": 1.5 * 1024**3, "unit": "bytes"},
            "Alert leak for web: 2.0 GB (threshold 1.5 GB)",
        ),
        (
            "alert.resolved",
            {"rule": "hot", "seconds": 90, "why": "the program stopped", "value": None},
            "Alert hot for web resolved after 1 min 30 s: the program stopped",
        ),
        ("alert.resolved", {"rule": "cpu high", "seconds": 300}, "Alert cpu high for web resolved after 5 min"),
        ("plugin.failed", {"plugin": "backup", "error": "disk full"}, "Plugin backup for web failed: disk full"),
        ("program.invented", {"reason": "because"}, "program.invented web: because"),
    ],
)
def test_an_event_has_a_one_line_summary(type_: str, data: dict[str, Any], line: str) -> None:
    assert summary(type_, "web", data) == line


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (97.5, "percent", "97.5 %"),
        (0.004, "percent", "0 %"),
        (1023, "bytes", "1023 B"),
        (1536, "bytes", "1.5 KB"),
        (10 * 1024**2, "bytes_per_second", "10.0 MB/s"),
        (12.0, "count", "12"),
        (1234567, "", "1234567"),
        (3.14159, "parsecs", "3.14"),
    ],
)
def test_an_amount_is_shown_with_its_unit(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(
    ("type_", "data", "line"),
    [
        ("agent.started", {"host": "pc", "adopted": 2}, "The agent on pc started; 2 programs kept running"),
        (
            "agent.started",
            {"host": "pc", "silent_seconds": 45},
            "The agent on pc is back after 45 s without heartbeat",
        ),
        (
            "agent.lost",
            {"host": "pc", "silent_seconds": 20},
            "The agent on pc sends no heartbeat; the last one was 20 s ago",
        ),
        (
            "agent.lost",
            {"host": "pc", "silent_seconds": 20, "processes": 3},
            "The agent on pc sends no heartbeat; the last one was 20 s ago; 3 processes are not supervised",
        ),
        ("webhook.disabled", {"webhook": "chat", "reason": "5 days"}, "Webhook chat was disabled: 5 days"),
    ],
)
def test_an_event_of_the_monitor_itself_names_no_program(type_: str, data: dict[str, Any], line: str) -> None:
    assert summary(type_, "", data) == line


def test_every_event_type_has_a_summary() -> None:
    assert events.SEVERITIES.keys() <= set(events.TYPES) == SUMMARIES.keys() - {"webhook.test"}


NONSENSE: list[Any] = [
    None,
    "",
    "x{}%s",
    True,
    -1,
    10**400,
    math.nan,
    math.inf,
    [],
    ["a"],
    {},
    {"a": 1},
    "a\nb\x00" * 999,
]
KEYS = [
    "exit_code", "exit_signal", "out_of_memory", "meaning", "uptime_seconds", "unseen", "why", "delay_seconds",
    "restarts", "window_seconds", "pid", "attempt", "reason", "step", "seconds", "tree_killed", "detail", "from",
    "to", "changes", "rule", "value", "threshold", "plugin", "error", "webhook", "host", "adopted", "text",
]  # fmt: skip


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: repr(value)[:12])
def test_unexpected_data_never_breaks_a_summary(value: Any) -> None:
    for type_ in [*SUMMARIES, "no.such"]:
        line = summary(type_, "we{b}", dict.fromkeys(KEYS, value))
        assert 0 < len(line) <= 500
        assert "\n" not in line


def test_a_summary_without_data_is_short() -> None:
    assert summary("program.crashed", "web") == "web crashed"
    assert summary("program.scaled", "web", None) == "web was scaled"


# --- Durations and counts ---


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (0.0001, "1 ms"),
        (0.45, "450 ms"),
        (0.9999, "1 s"),
        (4.24, "4.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (303, "5 min 3 s"),
        (3599.9, "1 h"),
        (11_520, "3 h 12 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
        (400 * 86_400, "400 d"),
        (math.inf, "an unlimited time"),
        (math.nan, "an unlimited time"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ordinals_are_english() -> None:
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th",
    ]  # fmt: skip
