"""What is recorded of an exit."""

from __future__ import annotations

from datetime import UTC, datetime

from programs.supervisor.exit_record import ExitRecord
from programs.supervisor.journal import MAX_REASON_LENGTH
from programs.supervisor.platform import Exit

KEY = (1, 0)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
CRASH = ExitRecord(Exit(code=1), 2.34567, "exited with code 1", data={"step": "signal:TERM"})


def test_a_crash_is_recorded_with_what_follows_and_an_incident() -> None:
    entry = CRASH.entry(KEY, NOW, "agent", 4096, restarts=3)
    assert entry.event is not None
    assert (entry.event["type"], entry.event["actor"]) == ("program.crashed", "agent")
    assert entry.event["data"] == {
        "exit_code": 1,
        "exit_signal": None,
        "meaning": "exited with code 1",
        "uptime_seconds": 2.346,
        "step": "signal:TERM",
        "restarts": 3,
    }
    assert entry.incident == {**entry.event["data"], "log_end": 4096}


def test_an_expected_exit_is_no_incident() -> None:
    entry = ExitRecord(Exit(code=0), 5, "ended well", expected=True).entry(KEY, NOW, "agent", None)
    assert entry.event is not None
    assert (entry.event["type"], entry.incident) == ("program.exited", None)


def test_its_row_says_that_nothing_runs_and_why() -> None:
    values = CRASH.entry(KEY, NOW, "agent", None).values
    assert (values["pid"], values["exit_code"], values["reason"]) == (None, 1, "exited with code 1")


def test_a_long_meaning_is_recorded_whole_and_cut_as_a_reason() -> None:
    entry = ExitRecord(Exit(), 0, "x" * 2000).entry(KEY, NOW, "agent", None)
    assert entry.event is not None
    assert (len(entry.event["data"]["meaning"]), len(entry.values["reason"])) == (2000, MAX_REASON_LENGTH)
