"""Texts of numbers, values, events and warnings in the admin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from programs.admin.event_text import event_text
from programs.admin.history import value_text
from programs.events import TYPES
from programs.formatting import bytes_text, duration_text, exit_text, percent_text
from programs.forms import definition_warnings
from programs.models import Program, ProgramEvent


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (1536, "1.5 KB"),
        (102_400, "100 KB"),
        (5 * 1024**3, "5.0 GB"),
        (2**70, "1048576 PB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3_661, "1h 1m"),
        (86_400, "1d"),
        (9_999_999, "115d 17h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize("type_", TYPES)
def test_every_event_type_has_a_text(type_: str) -> None:
    text = event_text(ProgramEvent(type=type_, program_name="web" if type_.startswith("program.") else ""))
    assert text not in ("", type_)
    assert "None" not in text


@pytest.mark.parametrize(
    ("type_", "data", "text"),
    [
        ("agent.started", {"host": "nas", "adopted": 2}, "The agent on nas started; 2 programs kept running"),
        (
            "agent.lost",
            {"host": "nas", "silent_seconds": 30.0},
            "The agent on nas sends no heartbeat; the last one was 30 s ago",
        ),
        ("webhook.disabled", {"webhook": "ops", "reason": "410"}, "Webhook ops was disabled: 410"),
        ("webhook.test", {"webhook": "ops"}, "Test message of webhook ops"),
        ("program.created", {}, "web was created"),
        ("program.adopted", {"pid": 7}, "process 7"),
        ("program.scaled", {"from": 1, "to": 3}, "1 → 3"),
        ("program.healthy", {"detail": "answered 200"}, "answered 200"),
    ],
)
def test_the_text_of_an_event_is_short(type_: str, data: dict[str, Any], text: str) -> None:
    assert event_text(ProgramEvent(type=type_, program_name="web", data=data)) == text


def test_percentages_and_exits() -> None:
    assert (percent_text(3.14159), percent_text(412.5)) == ("3.1 %", "412 %")
    assert (exit_text(3, None), exit_text(None, "SIGKILL"), exit_text(None, None)) == (
        "exit code 3",
        "ended by SIGKILL",
        "",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        ("", "—"),
        ([], "—"),
        (True, "yes"),
        (1.0, "1"),
        (0.25, "0.25"),
        ({"set": True}, "••••••"),
        (["a", "b"], "a, b"),
        ([{"name": "A", "value": "{x}"}, {"name": "B", "value": {"set": True}}], "A={x}\nB=••••••"),
        ([{"seconds": 2.5, "step": "signal:INT"}], "signal:INT (2.5 s)"),
        ([{"program": "db", "condition": "healthy"}], "db (healthy)"),
        ([{"kind": "tcp", "target": "a:1"}], "—: tcp a:1 (every — s, timeout — s, — failures)"),
        ({"odd": 1, "thing": [2]}, "odd 1, thing 2"),
    ],
)
def test_values_of_a_definition(value: Any, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"command": "sleep 1"}, None),
        ({"command": "no-such-program"}, "not found"),
        ({"command": "./run.sh"}, "not found"),
        ({"command": "sleep 1 | cat"}, "No shell runs"),
        ({"command": "echo $HOME"}, "No shell runs"),
        ({"command": "sh -c 'a | b > c; $X'"}, None),
        ({"command": "sleep 1 | cat", "shell": True}, None),
        ({"command": "sleep 100 &", "shell": True}, "ends with"),
        ({"command": "a && b &&", "shell": True}, None),
        ({"command": "sleep \u201c1\u201d"}, "looks like another"),
        ({"command": "sleep\u00a01", "shell": True}, "looks like another"),
        ({"command": "'unclosed"}, None),
        ({"command": "run-{instance}"}, "“run-0” was not found"),
    ],
)
def test_warnings_about_commands(fields: dict[str, Any], words: str | None) -> None:
    said = definition_warnings(Program(name="x", **fields)).get("command", [])
    assert (words in " ".join(said)) if words else said == []


@pytest.mark.django_db
def test_warnings_use_the_folder_and_path_of_the_program(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\n")
    one = Program(name="x", command="./run.sh", working_directory=str(tmp_path))
    assert "not found" in str(definition_warnings(one))
    script.chmod(0o755)
    assert "command" not in definition_warnings(one)
    path = Program(name="x", command="run.sh", environment=[{"name": "PATH", "value": str(tmp_path)}])
    assert "command" not in definition_warnings(path)


@pytest.mark.django_db
def test_running_as_root_and_restarting_for_ever_cause_warnings() -> None:
    found = definition_warnings(
        Program(name="x", command="sleep 1", user="root", restart_policy="always", max_restarts=0)
    )
    assert "as root" in found["user"][0]
    assert "without end" in found["restart_policy"][0]
