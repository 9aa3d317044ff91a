"""Every situation of a process with every action, every outcome and every restart policy, in virtual time."""

from __future__ import annotations

import pytest

from .memory_database import assert_each_run_ends_once, assert_legal, transitions
from .scenarios import EXIT_COLUMNS, Scenario, of_program
from .transition_table import POLICIES, action_rows, outcome_rows

ROWS, FOLLOWING = action_rows(), outcome_rows()


def walk(situation: str, action: str, outcome: str, policy: str) -> tuple[Scenario, list[object]]:
    """What the agent did: events and state after the action, events and state after the outcome."""
    scenario = Scenario(situation, policy)
    scenario.perform(action)
    seen: list[object] = [scenario.state(), scenario.new_events()]
    scenario.bring_about(outcome)
    return scenario, [*seen, scenario.state(), scenario.new_events()]


def check_records(scenario: Scenario) -> int:
    """Every transition is legal, every crash has its incident, and rows match the machine. Returns how many."""
    key = (scenario.web.pk, 0)
    entries = of_program(scenario.web, scenario.world.database.entries)
    recorded = list(transitions(entries, key))
    for transition in recorded:
        assert_legal(transition)
    assert_each_run_ends_once(entries, key)
    for entry in entries:
        is_crash = entry["event"] is not None and entry["event"]["type"] == "program.crashed"
        assert is_crash == (entry["incident"] is not None), entry
        if is_crash:
            assert entry["incident"] == {**entry["event"]["data"], "log_end": 4096}
    uids = [entry["event"]["uid"] for entry in entries if entry["event"]]
    assert len(uids) == len(set(uids)), "an event was recorded twice"
    scenario.world.check()
    scenario.world.stop_agent()
    return len(recorded)


@pytest.mark.usefixtures("log_lines")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("situation", dict.fromkeys(row.situation for row in ROWS))
def test_every_action_and_outcome_leads_where_the_table_says(situation: str, policy: str) -> None:
    wrong = []
    for row in ROWS:
        for after in FOLLOWING:
            if row.situation != situation or row.after != after.after:
                continue
            state, events = after.results[policy]
            expected = [row.state, row.events, row.state if state == "same" else state, events]
            scenario, found = walk(situation, row.action, after.outcome, policy)
            if found != expected:
                wrong.append(f"{row.action}, {after.outcome}: expected {expected}, found {found}")
                continue
            columns = scenario.world.database.rows.get((scenario.web.pk, 0))
            if columns and after.outcome in EXIT_COLUMNS and state in ("stopped", "exited", "backoff", "fatal"):
                assert (columns["exit_code"], columns["exit_signal"]) == EXIT_COLUMNS[after.outcome]
            check_records(scenario)
    assert not wrong, "\n".join(wrong)
