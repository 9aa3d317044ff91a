"""The YAML format of the monitor: round trips, conversion by field type, and no exported secrets."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from programs import services
from programs.definition.conversion import definition_json
from programs.definition.fields import FIELDS, defaults
from programs.formats import FormatError, read, write_yaml
from programs.models import Host

from .samples import definition, mentions, read_samples

FULL: dict[str, Any] = {
    "name": "web",
    "command": "python3 -m http.server {instance+8100}",
    "shell": True,
    "description": "Two\nlines, ünïcode and: colons # too",
    "tags": ["site", "2024", "yes"],
    "host": "pc-2",
    "working_directory": "/srv/a b",
    "environment": [
        {"name": "A", "value": "on"},
        {"name": "B", "value": "1.10"},
        {"name": "C", "value": ""},
        {"name": "D", "value": " 'null' \"~\" \t\x1b[0m\n"},
        {"name": "E", "value": "1e5"},
        {"name": "F", "value": "22:22"},
        {"name": "G", "value": "2024-01-01"},
    ],
    "stdin": "console",
    "user": "www",
    "umask": "022",
    "nice": -5,
    "max_open_files": 4096,
    "max_memory_bytes": 2**40,
    "autostart": False,
    "restart_policy": "always",
    "success_exit_codes": [0, 3],
    "start_seconds": 2.5,
    "backoff_initial": 0.5,
    "backoff_factor": 1.5,
    "backoff_max": 60,
    "backoff_jitter": 0,
    "stable_seconds": 60,
    "max_restarts": 0,
    "restart_window": 60,
    "restart_cron": "0 4 * * *",
    "stop_ladder": [{"step": "stdin:stop", "seconds": 30}, {"step": "signal:INT", "seconds": 0.5}],
    "instances_min": 0,
    "instances_max": 4,
    "scale_cpu_percent": 70.5,
    "depends_on": [{"program": "db", "condition": "healthy"}],
    "probes": [
        {"kind": "tcp", "purpose": "readiness", "target": "a:1", "period": 5, "timeout": 0.5, "failures": 2}
    ],
    "log_max_bytes": 65536,
    "log_backups": 0,
    "log_compress": False,
}


def one(text: str) -> dict[str, Any]:
    (found,) = read(f"programs:\n- {text}", kind="yaml").definitions
    return found


# --- Writing ---


def test_an_export_can_be_imported() -> None:
    other = {"name": "db", "command": "./db"}
    assert read(write_yaml([FULL, other])).definitions == [FULL, other]


def test_the_sample_has_every_field() -> None:
    assert FULL.keys() == set(FIELDS)


def test_defaults_are_left_out_and_the_order_is_stable() -> None:
    shuffled = {**defaults(), "nice": 3, "command": "x", "name": "web"}
    assert yaml.safe_load(write_yaml([dict(reversed(shuffled.items()))])) == {
        "programs": [{"name": "web", "command": "x", "nice": 3}]
    }
    assert write_yaml([dict(reversed(FULL.items()))]) == write_yaml([FULL])


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "TOKEN", "value": "s3cret", "secret": True},
        {"name": "TOKEN", "secret": True, "encrypted": "s3cret"},
        {"name": "TOKEN", "encrypted": "s3cret"},
        {"name": "TOKEN", "value": {"set": True}, "secret": True},
    ],
)
def test_a_secret_is_never_exported(entry: dict[str, Any]) -> None:
    text = write_yaml([{"name": "web", "command": "x", "environment": [entry]}])
    assert "s3cret" not in text
    assert yaml.safe_load(text)["programs"][0]["environment"] == [
        {"name": "TOKEN", "secret": True, "value": {"set": True}}
    ]


def test_a_missing_secret_value_is_noted() -> None:
    imported = read_samples("programs.yaml")
    assert definition(imported, "web")["environment"][3] == {
        "name": "API_TOKEN",
        "secret": True,
        "value": {"set": True},
    }
    assert mentions(imported, "web", "variable API_TOKEN: its secret value isn't in the file")


def test_an_empty_export_can_be_imported() -> None:
    assert read(write_yaml([])).definitions == []


# --- Reading ---


def test_values_are_converted_by_field_type() -> None:
    web = definition(read_samples("programs.yaml"), "web")
    assert web["umask"] == "022"
    assert [entry["value"] for entry in web["environment"][:3]] == ["1", "off", "1.10"]
    assert web["tags"] == ["site", "2024"]
    assert (web["scale_cpu_percent"], web["instances_max"]) == (70.5, 4)


def test_an_anchor_can_hold_shared_settings() -> None:
    db = definition(read_samples("programs.yaml"), "db")
    assert (db["working_directory"], db["max_restarts"], db["autostart"]) == ("/srv/app", 0, False)


def test_json_is_read_too() -> None:
    text = '{"programs": [{"name": "a", "command": "b", "autostart": false, "nice": null, "umask": "022"}]}'
    assert read(text).definitions == [{"name": "a", "command": "b", "umask": "022", "autostart": False}]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("{name: a}", 2, "a program is missing command"),
        ("{name: a, command: b, comand: c}", 2, "a program has no field 'comand'"),
        ("name: a\n  command: b\n  autostart: yes", 4, "'yes' is neither true nor false"),
        ("name: a\n  command: b\n  nice: low", 4, "'low' is not a whole number"),
        ("name: a\n  command: b\n  max_restarts: 1.5", 4, "'1.5' is not a whole number"),
        ("name: a\n  command: b\n  start_seconds: .inf", 4, "is not a number"),
        ("name: a\n  command: b\n  tags: x", 4, "expected a list"),
        ("name: a\n  command: [b]", 3, "expected a text"),
        ("name: a\n  command: b\n  name: c", 4, "duplicate key 'name'"),
        ("name: a\n  command: b\n  environment: {A: b}", 4, "expected a list"),
        ("name: a\n  command: b\n  environment: [{name: A}]", 4, "an entry is missing value"),
        ("name: a\n  command: b\n  environment: [{name: A, value: {get: x}}]", 4, "a value has no field 'get'"),
        (
            "name: a\n  command: b\n  environment: [{name: A, value: {set: false}}]",
            4,
            "a value must be a text, or {set: true}",
        ),
        ("name: a\n  command: b\n  probes: [{kind: tcp}]", 4, "an entry is missing target"),
        ("name: a\n  command: b\n  stop_ladder: [signal:TERM]", 4, "an entry must be a mapping"),
        ("just text", 2, "a program must be a mapping"),
        ("name: a\n  command: b\n  [x]: c", 4, "a key must be a text"),
        ("name: a\n  command: b\n  <<: x", 4, "<< needs a mapping"),
        ("name: a\n command: b", 3, "invalid YAML"),
        ("name: *nobody", 2, "invalid YAML"),
    ],
)
def test_an_invalid_value_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(FormatError, match=re.escape(words)) as refused:
        read(f"programs:\n- {text}", kind="yaml", filename="programs.yaml")
    assert refused.value.line == line
    assert refused.value.filename == "programs.yaml"


@pytest.mark.parametrize("text", ["", "- a", "programs:", "programs: x", "other: []", "programs: []\nother: []"])
def test_a_file_without_programs_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="programs"):
        read(text, kind="yaml")


BOMB = "x-0: &a [x, x]\n" + "".join(
    f"x-{number}: &{chr(98 + number)} [{','.join(['*' + chr(97 + number)] * 9)}]\n" for number in range(9)
)


@pytest.mark.parametrize(
    "text",
    [
        f"{BOMB}programs: *j",
        "programs: &a [*a]",
        "programs: " + "[" * 900_000,
        "programs: " + "{a: " * 100_000,
        "programs: [\x00]",
        "programs: " + "x" * 1_000_000,
    ],
    ids=["bomb", "itself", "deep list", "deep mapping", "nul", "long"],
)
def test_a_malicious_file_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        read(text, kind="yaml")


# --- With the rest of the monitor ---


@pytest.mark.django_db
def test_the_json_of_a_saved_program_can_be_exported_and_imported() -> None:
    Host.objects.create(name="pc-2")
    environment = [*FULL["environment"], {"name": "TOKEN", "value": "s3cret", "secret": True}]
    services.save_definition({"name": "db", "command": "db", "host": "pc-2"}, actor="test")
    saved = services.save_definition({**FULL, "environment": environment}, actor="test")
    text = write_yaml([definition_json(saved.program)])
    (found,) = read(text).definitions
    assert found.pop("environment")[-1]["value"] == {"set": True}
    assert found == {name: value for name, value in FULL.items() if name != "environment"}
