"""What is written of an end."""

from __future__ import annotations

import pytest

from programs.supervisor.exit_record import Ending
from programs.supervisor.journal import LONGEST_REASON
from programs.supervisor.platform import Exit

pytestmark = pytest.mark.usefixtures("launching")
KEY = (1, 0)
CRASH = Ending(Exit(code=1), 2.34567, "exited with code 1", facts={"step": "signal:TERM"})


def test_a_crash_is_told_with_what_follows_and_makes_an_incident() -> None:
    entry = CRASH.entry(KEY, "agent", restarts=3)
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
    assert entry.incident == {**entry.event["data"], "log_end": 0}  # nothing was written


def test_an_end_that_was_expected_is_no_incident() -> None:
    entry = Ending(Exit(code=0), 5, "ended well", expected=True).entry(KEY, "agent")
    assert entry.event is not None
    assert (entry.event["type"], entry.incident) == ("program.exited", None)


def test_its_row_says_that_nothing_runs_and_why() -> None:
    values = CRASH.entry(KEY, "agent").values
    assert (values["pid"], values["exit_code"], values["reason"]) == (None, 1, "exited with code 1")


def test_a_long_meaning_is_told_whole_and_cut_as_a_reason() -> None:
    entry = Ending(Exit(), 0, "x" * 2000).entry(KEY, "agent")
    assert entry.event is not None
    assert (len(entry.event["data"]["meaning"]), len(entry.values["reason"])) == (2000, LONGEST_REASON)
