"""`program add`: every field has an option, and errors name their field."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from programs.cli.field_options import POSITIONAL, field_options
from programs.definition.conversion import definition_json
from programs.definition.environment import environment_of
from programs.definition.fields import FIELDS
from programs.models import Program, ProgramEvent

from .program_command import program

pytestmark = pytest.mark.django_db

EVERY_FIELD = {
    "--shell": (),
    "--no-autostart": (),
    "--no-log-compress": (),
    "--description": ("a web server",),
    "--tag": ("prod",),
    "--stdin": ("console",),
    "--umask": ("027",),
    "--nice": ("-5",),
    "--max-open-files": ("512",),
    "--max-memory-bytes": ("512M",),
    "--restart-policy": ("always",),
    "--success-exit-code": ("3",),
    "--start-seconds": ("0.5",),
    "--backoff-max": ("2m",),
    "--restart-cron": ("0 4 * * *",),
    "--instances-max": ("3",),
    "--log-max-bytes": ("1M",),
    "--env": ("MODE=a=b",),
    "--stop-step": ("stdin:save-all:5",),
    "--probe": ("tcp,readiness:127.0.0.1:80",),
}


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.RUN_DIR = tmp_path / "run"


def stored(name: str = "web") -> dict[str, Any]:
    return definition_json(Program.objects.get(name=name))


def test_every_field_of_a_definition_has_an_option() -> None:
    assert {option.field for option in field_options()} | set(POSITIONAL) == set(FIELDS)
    assert len({option.flag for option in field_options()}) == len(field_options())


def test_the_arguments_of_a_command_are_kept_apart() -> None:
    done = program("add", "web", "python3", "-m", "http.server", "--bind", "it's {instance+8100}")
    assert (done.code, done.out) == (0, f"web: added (id {Program.objects.get().pk})\n")
    assert stored()["command"] == "python3 -m http.server --bind 'it'\"'\"'s {instance+8100}'"


def test_options_set_the_fields_as_the_api_would() -> None:
    words = [word for flag, values in EVERY_FIELD.items() for word in (flag, *values)]
    assert program("add", *words, "web", "cat | wc -l").code == 0
    made = stored()
    assert (made["shell"], made["autostart"], made["log_compress"]) == (True, False, False)
    assert (made["nice"], made["max_memory_bytes"], made["backoff_max"]) == (-5, 512 * 1024**2, 120)
    assert made["environment"] == [{"name": "MODE", "value": "a=b"}]
    assert made["stop_ladder"] == [{"step": "stdin:save-all", "seconds": 5}]
    assert made["probes"][0]["purpose"] == "readiness"
    assert (made["success_exit_codes"], made["tags"], made["umask"]) == ([3], ["prod"], "027")


def test_a_person_at_a_terminal_gets_the_current_folder(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path / "monitor" / "data"
    (tmp_path / "game").mkdir()
    monkeypatch.chdir(tmp_path / "game")
    done = program("add", "web", "./run.sh", answers="")
    assert f"It will run in {tmp_path}/game." in done.err
    assert stored()["working_directory"] == f"{tmp_path}/game"
    program("add", "job", "./run.sh")
    assert stored("job")["working_directory"] == ""


def test_a_folder_with_the_monitors_data_is_never_the_default(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path / "data"
    (tmp_path / "data" / "logs").mkdir(parents=True)
    for name, folder in (("parent", tmp_path), ("data", tmp_path / "data"), ("logs", tmp_path / "data" / "logs")):
        monkeypatch.chdir(folder)
        assert program("add", name, "python3 -m http.server", answers="").code == 0
        assert stored(name)["working_directory"] == ""


def test_a_shell_gets_the_command_as_typed() -> None:
    program("add", "--shell", "web", "--", "echo", "$HOME", "|", "wc")
    assert stored()["command"] == "echo $HOME | wc"


def test_options_override_the_json_definition(tmp_path: Path) -> None:
    (tmp_path / "web.json").write_text(json.dumps({"name": "web", "command": "sleep 5", "nice": 1}))
    assert program("add", "--json", str(tmp_path / "web.json"), "--nice", "3").code == 0
    assert (stored()["command"], stored()["nice"]) == ("sleep 5", 3)
    other = program("add", "other", "--json", "-", "--depends-on", "web", stdin='{"command": "sleep 6"}')
    assert (other.code, stored("other")["depends_on"]) == (0, [{"program": "web", "condition": "started"}])


def test_each_error_is_a_line_that_begins_with_the_field() -> None:
    done = program("add", "--nice", "99", "--umask", "9", "--working-directory", "x", "web", "echo 'open")
    assert done.code == 1
    assert [line.split(":")[0] for line in done.err.splitlines()] == [
        *("umask", "nice", "command", "working_directory")
    ]
    assert not Program.objects.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "isn't valid JSON"),
        ("[]", "must contain one definition"),
        ('{"nonsense": 1, "name": "a"}', "Missing: command"),
    ],
)
def test_json_that_is_no_definition_is_refused(text: str, said: str) -> None:
    done = program("add", "--json", "-", stdin=text)
    assert done.code in (1, 2)
    assert said in done.err


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    done = program("add", "--json", str(tmp_path / "none.json"))
    assert (done.code, done.err) == (1, f"Can't read {tmp_path}/none.json: No such file or directory\n")


def test_a_probable_mistake_is_a_warning() -> None:
    done = program("add", "web", "--", "no-such-command-here", "--x")
    assert (done.code, done.out) == (0, "web: added (id 1)\n".replace("1", str(Program.objects.get().pk)))
    assert "warning: command: “no-such-command-here” was not found, or is not executable.\n" in done.err
    assert "not found" not in program("add", "fine", "sleep 1").err


def test_the_name_must_be_unique() -> None:
    program("add", "web", "sleep 1")
    done = program("add", "web", "sleep 2")
    assert (done.code, done.err) == (1, "There is already a program with this name.\n")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["web"],
        ["--nonsense", "web", "sleep"],
        ["--nice", "many", "web", "sleep"],
        ["--env", "X", "web", "true"],
    ],
)
def test_an_invalid_option_is_a_usage_error(words: list[str]) -> None:
    assert program("add", *words).code == 2
    assert not Program.objects.exists()


def test_a_dry_run_prints_and_saves_nothing() -> None:
    done = program("add", "--dry-run", "--secret-env", "TOKEN", "web", "sleep", "5", stdin="s3cret\n")
    assert done.json["environment"] == [{"name": "TOKEN", "value": {"set": True}, "secret": True}]
    assert "s3cret" not in done.out
    assert not Program.objects.exists()


def test_secrets_come_from_the_environment_or_stdin_and_are_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "one two")
    assert program("add", "--secret-env", "FIRST", "--secret-env", "SECOND", "web", "cat", stdin="2\n").code == 0
    made = Program.objects.get()
    assert environment_of(made) == {"FIRST": "one two", "SECOND": "2"}
    assert "one two" not in json.dumps(made.environment)


def test_a_secret_without_a_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    assert "TOKEN has no value" in program("add", "--secret-env", "TOKEN", "web", "cat").err
    assert program("add", "--json", "-", "--secret-env", "TOKEN", stdin="{}").code == 2
    assert not Program.objects.exists()


def test_a_person_is_asked_for_a_secret_without_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda prompt: f"typed at {prompt}")
    program("add", "--secret-env", "TOKEN", "web", "cat", answers="")
    assert environment_of(Program.objects.get()) == {"TOKEN": "typed at Value of TOKEN: "}


def test_events_name_the_person_at_the_command_line() -> None:
    program("add", "web", "sleep 1")
    assert ProgramEvent.objects.get(type="program.created").actor == f"{getpass.getuser()} (command line)"


def test_without_an_agent_a_warning_is_printed() -> None:
    done = program("add", "web", "sleep 1")
    assert "the agent on testhost sends no heartbeat; is `manage.py serve` running?" in done.err
