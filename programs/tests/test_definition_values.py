"""The records of a definition refuse what is invalid, wherever it comes from."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from programs import validation
from programs.definition.values import DependencyEntry, EnvironmentEntry, Probe, Record, StopStep

PROBE = {"kind": "tcp", "target": "127.0.0.1:80"}


def test_a_record_has_its_defaults() -> None:
    assert Probe.from_json(PROBE).as_json() == {
        **PROBE,
        "purpose": "liveness",
        "period": 10,
        "timeout": 1,
        "failures": 3,
    }
    assert DependencyEntry.from_json({"program": "db"}).as_json() == {"program": "db", "condition": "started"}


@pytest.mark.parametrize(
    ("record", "entry", "problem"),
    [
        (Probe, [], "must be an object with kind, target, purpose (optional)"),
        (Probe, {"kind": "tcp"}, "must be an object with"),
        (Probe, {**PROBE, "colour": 1}, "must be an object with"),
        (Probe, {**PROBE, "kind": "icmp"}, "kind can't be 'icmp'"),
        (Probe, {**PROBE, "failures": True}, "failures can't be True"),
        (Probe, {**PROBE, "failures": 0}, "failures must be between 1 and 1000"),
        (Probe, {**PROBE, "period": "5"}, "period can't be '5'"),
        (Probe, {**PROBE, "timeout": float("nan")}, "timeout must be between"),
        (Probe, {**PROBE, "target": " "}, "needs a target"),
        (Probe, {"kind": "exec", "target": "'"}, "can't be split into words"),
        (Probe, {"kind": "http", "target": "http://[x"}, "isn't a URL"),
        (StopStep, {"step": "signal:TERM"}, "must be an object with step and seconds"),
        (StopStep, {"step": "signal:TERM", "seconds": 3601}, "between 0 and 3600"),
        (StopStep, {"step": "wait", "seconds": 1}, "isn't a stop step"),
        (StopStep, {"step": "signal:NONE", "seconds": 1}, "isn't a signal"),
        (EnvironmentEntry, {"name": "1A", "value": ""}, "isn't a variable name"),
        (EnvironmentEntry, {"name": "PROGRAM_MONITOR", "value": ""}, "reserved"),
        (EnvironmentEntry, {"name": "A", "value": {"set": True}}, "A has no value"),
        (EnvironmentEntry, {"name": "A", "value": "\x00"}, "NUL"),
        (EnvironmentEntry, {"name": "A", "secret": True, "encrypted": "x"}, "must be an object with"),
        (DependencyEntry, {"program": "db", "condition": "gone"}, "condition can't be 'gone'"),
    ],
)
def test_an_invalid_record_is_refused(record: type[Record], entry: Any, problem: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        record.from_json(entry)
    assert problem in refusal.value.messages[0]


def test_a_stored_secret_must_be_encrypted() -> None:
    validation.environment([{"name": "A", "secret": True, "encrypted": "gAAAA"}, {"name": "B", "value": "x"}])
    for entry in ({"name": "A", "secret": True, "value": "clear"}, {"name": "A", "encrypted": "gAAAA"}):
        with pytest.raises(ValidationError):
            validation.environment([entry])
