"""Ecosystem files of PM2: equivalent definitions; code is refused."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from programs.formats import FormatError, Imported, NoFiles, read
from programs.formats.json5 import Json5Reader

from .samples import FOLDER, definition, mentions, notes, read_samples


@pytest.fixture
def sample() -> Imported:
    return read_samples("ecosystem.config.js")


def app(**fields: Any) -> Imported:
    text = json.dumps({"apps": [{"name": "a", "script": "a.js", **fields}]})
    return read(text, filename="/srv/ecosystem.json", files=NoFiles())


def only(**fields: Any) -> dict[str, Any]:
    return app(**fields).definitions[0]


def test_an_app_of_two_instances_is_one_definition(sample: Imported) -> None:
    api = definition(sample, "api")
    del api["environment"]
    assert api == {
        "name": "api",
        "command": "node --max-old-space-size=4096 --enable-source-maps ./dist/server.js "
        "--config 'prod config.json' --verbose",
        "working_directory": "/srv/chat",
        "max_memory_bytes": 300 * 1024 * 1024,
        "restart_policy": "always",
        "start_seconds": 10,
        "backoff_initial": 0.1,
        "backoff_factor": 1.5,
        "backoff_max": 15,
        "stable_seconds": 30,
        "restart_cron": "0 3 * * *",
        "stop_ladder": [{"step": "signal:INT", "seconds": 5}],
        "instances_min": 2,
        "instances_max": 2,
    }


def test_variables_are_converted_as_in_node_and_count_with_the_instances(sample: Imported) -> None:
    found = {entry["name"]: entry["value"] for entry in definition(sample, "api")["environment"]}
    assert found == {
        "NODE_ENV": "development",
        "PORT": "{instance+3000}",
        "FEATURE_X": "true",
        "LIMITS": '{"rooms":10}',
        "GREETING": 'it\'s "fine"',
        "NODE_APP_INSTANCE": "{instance}",
    }


def test_interpreter_delay_exit_codes_and_namespace_are_carried_over(sample: Imported) -> None:
    assert definition(sample, "@chat-mailer") == {
        "name": "@chat-mailer",
        "command": "/srv/chat/venv/bin/python mailer.py",
        "tags": ["mail"],
        "working_directory": f"{FOLDER}/mail",
        "user": "chat",
        "success_exit_codes": [0, 3],
        "backoff_initial": 4,
        "backoff_factor": 1,
        "stop_ladder": [{"step": "signal:INT", "seconds": 10}],
    }


def test_a_script_with_a_space_runs_in_a_shell(sample: Imported) -> None:
    found = definition(sample, "npm run sitemap")
    assert (found["command"], found["shell"], found["restart_policy"]) == ("npm run sitemap", True, "never")


def test_every_dropped_key_has_a_note(sample: Imported) -> None:
    for words in (
        "cluster mode shares one port", "wait_ready:", "watch:", "merge_logs:", "error_file:", "env_production:",
        "source_map_support:", "variable 'NOTHING'", "max_restarts:",
    ):  # fmt: skip
        assert mentions(sample, "api", words), words
    assert mentions(sample, "@chat-mailer", "gid:")
    assert mentions(sample, "@chat-mailer", "its name was '@chat/mailer'")
    assert mentions(sample, "", "deploy:")


def test_json_with_aliases_is_read() -> None:
    imported = read_samples("processes.json")
    assert definition(imported, "bot")["command"] == "node bot.js --token 'x y' 3"
    assert definition(imported, "bot")["max_memory_bytes"] == 150_000_000
    assert imported.notes == []


def test_yaml_is_read_too() -> None:
    text = "apps:\n  - script: ./app.py\n    name: app\n    args: [1, x]\n    env: {DEBUG: true, PORT: 80}\n"
    (found,) = read(text, filename="/srv/process.yml").definitions
    assert found["command"] == "python3 ./app.py 1 x"
    assert found["environment"] == [{"name": "DEBUG", "value": "true"}, {"name": "PORT", "value": "80"}]


@pytest.mark.parametrize("text", ['[{"script": "a.js"}]', '{"script": "a.js"}', '{"pm2": [{"script": "a.js"}]}'])
def test_the_apps_may_be_in_other_places(text: str) -> None:
    assert read(text, kind="pm2").definitions[0]["name"] == "a"


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("x.mjs", "node x.mjs"),
        ("x.py", "python3 x.py"),
        ("x.sh", "bash x.sh"),
        ("npm", "npm"),
        ("./server", "./server"),
        ("x.ts", "bun x.ts"),
    ],
)
def test_the_interpreter_depends_on_the_extension(script: str, command: str) -> None:
    assert only(script=script)["command"] == command


def test_an_interpreter_of_none_runs_the_script_itself() -> None:
    assert only(script="x.js", interpreter="none", args="--a 'b c'")["command"] == "x.js --a 'b c'"


def test_max_instances_is_the_number_of_processors() -> None:
    imported = app(instances="max")
    processors = os.cpu_count() or 1
    assert imported.definitions[0].get("instances_max", 1) == processors
    assert mentions(imported, "a", f"instances max: became {processors}")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("max_memory_restart", "1G", {"max_memory_bytes": 1024**3}),
        ("min_uptime", 5000, {"start_seconds": 5}),
        ("min_uptime", "2m", {"start_seconds": 120}),
        ("kill_timeout", 1600, {"stop_ladder": [{"step": "signal:INT", "seconds": 1.6}]}),
        ("restart_delay", 600_000, {"backoff_initial": 600, "backoff_factor": 1, "backoff_max": 600}),
        ("restart_delay", 0, {}),
        ("cron_restart", 0, {}),
        ("autorestart", False, {"restart_policy": "never"}),
        ("port", 8080, {"environment": [{"name": "PORT", "value": "8080"}]}),
        ("autostart", False, {"autostart": False}),
        ("user", "www", {"user": "www"}),
    ],
)
def test_a_field_is_carried_over(field: str, value: object, expected: dict[str, Any]) -> None:
    assert only(**{field: value}) == {**only(), **expected}


def test_a_key_set_twice_by_an_alias_is_noted() -> None:
    assert notes(app(cron="1 1 * * *", cron_restart="2 2 * * *"), "a") == [
        "cron: not imported, another key has the same meaning"
    ]


def test_without_the_folder_of_the_file_a_note_asks_for_it() -> None:
    imported = read('{"script": "a.js"}', kind="pm2", filename="upload.json")
    assert "working_directory" not in imported.definitions[0]
    assert mentions(imported, "a", "set working_directory")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_memory_restart", "lots"),
        ("instances", "many"),
        ("instances", 5000),
        ("min_uptime", -1),
        ("autorestart", "maybe"),
        ("env", ["A=1"]),
        ("stop_exit_codes", ["x"]),
        ("stop_exit_codes", 300),
        ("args", "'unclosed"),
        ("increment_var", "PORT"),
        ("script", ""),
        ("script", None),
        ("script", 5),
    ],
)
def test_an_invalid_value_is_refused(field: str, value: object) -> None:
    env = {"env": {"PORT": "x"}} if field == "increment_var" else {}
    with pytest.raises(FormatError, match=r"ecosystem.json: the app 'a'"):
        app(**env, **{field: value})


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("const path = require('path');\nmodule.exports = {apps: []}", 1, "const is not a value"),
        (
            "module.exports = {\n  apps: [{\n    script: path.join(__dirname, 'a.js')\n}]}",
            3,
            "path.join is not a value",
        ),
        ("module.exports = {apps: [{script: 'a.js',\n env: {HOME: process.env.HOME}}]}", 2, "process.env.HOME"),
        ("module.exports = {apps: [{script: `a${1}.js`}]}", 1, "${"),
        ("module.exports = {apps: [{script: 'a' + '.js'}]}", 1, "missing comma or }"),
        ("module.exports = {apps: [...base]}", 1, "missing value"),
        ("module.exports = {apps: [{script: 'a.js'}]};\nconsole.log(1)", 2, "after the data"),
        ("module.exports = () => ({apps: []})", 1, "missing value"),
    ],
)
def test_code_is_refused_with_its_line_and_a_hint(text: str, line: int, words: str) -> None:
    with pytest.raises(FormatError) as refused:
        read(text, filename="/srv/ecosystem.config.js")
    assert refused.value.line == line
    assert words in refused.value.message
    assert "node -p" in refused.value.message


@pytest.mark.parametrize("text", ["{a: 'x", "[1, 2", "{a: 1, a: 2}", "[" * 1000, "'a\nb'", "0x", "1e999", "{'a'}"])
def test_invalid_data_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Json5Reader(text).read()


def test_data_is_read_like_in_node() -> None:
    text = r"""{a: 1, 'b': [0x1F, -2.5, 1e3, .5, +3,], "c\u00e9": 'it\'s\x41\n\
 on', $d: `back`, e: null, /* x */ g: "\ud83d\ude00", h: true, // end
 1: 'number', s: '\u{1F600}', f: undefined}"""
    assert Json5Reader(text).read() == {
        "a": 1,
        "b": [31, -2.5, 1000, 0.5, 3],
        "cé": "it'sA\n on",
        "$d": "back",
        "e": None,
        "g": "\U0001f600",
        "h": True,
        "1": "number",
        "s": "\U0001f600",
        "f": None,
    }
