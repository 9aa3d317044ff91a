"""Configuration of Supervisor: equivalent definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from programs.formats import FormatError, Imported, NoFiles, read
from programs.placeholders import fill

from .samples import FOLDER, definition, mentions, notes, read_samples


@pytest.fixture(scope="module")
def sample() -> Imported:
    return read_samples("supervisord.conf")


def program(*lines: str, filename: str = "/etc/supervisor/conf.d/x.conf") -> Imported:
    text = "\n".join(["[program:web]", "command=/bin/web", *lines])
    return read(text, kind="supervisor", filename=filename, files=NoFiles())


def only(*lines: str) -> dict[str, Any]:
    (found,) = program(*lines).definitions
    return found


def test_a_program_of_four_processes_is_one_definition(sample: Imported) -> None:
    web = definition(sample, "web")
    assert web["command"].split() == [
        "/srv/shop/venv/bin/gunicorn", "shop.wsgi:application", "--bind", "127.0.0.1:{instance+8000}",
        "--name", '"web', "of", 'shop"', "--max-requests", "500", "--jitter", "10%",
    ]  # fmt: skip
    del web["command"], web["environment"]
    assert web == {
        "name": "web",
        "tags": ["shop"],
        "working_directory": "/srv/shop",
        "user": "deploy",
        "umask": "027",
        "restart_policy": "always",
        "success_exit_codes": [0, 3],
        "start_seconds": 5,
        "max_restarts": 5,
        "stop_ladder": [{"step": "signal:QUIT", "seconds": 30}],
        "instances_min": 4,
        "instances_max": 4,
        "log_max_bytes": 20 * 1024 * 1024,
        "log_backups": 5,
    }


def test_environment_keeps_special_characters_and_follows_that_of_supervisord(sample: Imported) -> None:
    web = read_samples("supervisord.conf").definitions[0]
    assert [(entry["name"], entry["value"]) for entry in web["environment"]] == [
        ("LANG", "C.UTF-8"),
        ("SENTRY_DSN", "https://k:v@sentry.example/1,2"),
        ("DJANGO_SETTINGS_MODULE", "shop.settings"),
        ("PYTHONPATH", "/srv/shop:/srv/lib"),
        ("PORT", "{instance+8000}"),
        ("GREETING", 'say "hi", please'),
    ]


def test_defaults_shared_with_supervisor_are_left_out(sample: Imported) -> None:
    beat = definition(sample, "beat")
    assert beat["user"] == "celery"
    assert beat["autostart"] is False
    assert not beat.keys() & {"restart_policy", "start_seconds", "stop_ladder", "instances_min", "log_max_bytes"}


def test_here_is_the_folder_of_each_file(sample: Imported) -> None:
    assert f"--pidfile {FOLDER}/beat.pid" in definition(sample, "beat")["command"]
    assert f"--log {FOLDER}/conf.d/" in definition(sample, "thumbs")["command"]


def test_an_included_file_is_read_and_a_missing_one_noted(sample: Imported) -> None:
    assert definition(sample, "thumbs")["instances_max"] == 2
    assert mentions(sample, "", "[include] /nowhere/*.ini")


def test_every_dropped_key_has_a_note(sample: Imported) -> None:
    assert mentions(sample, "web", "priority:")
    assert mentions(sample, "web", "process_name:")
    assert mentions(sample, "web", "stdout_logfile:")
    assert mentions(sample, "web", "stopasgroup:")
    assert mentions(sample, "beat", "stdout_logfile_maxbytes:")
    assert mentions(sample, "thumbs", "%(ENV_LOGNAME)s")
    assert mentions(sample, "thumbs", "use a name instead of the number 1000")
    assert mentions(sample, "", "[eventlistener:memmon]")
    assert mentions(sample, "", "[group:shop] priority")
    assert mentions(sample, "", "[supervisord] logfile")


def test_options_that_match_our_behaviour_have_no_note() -> None:
    assert program("redirect_stderr=true", "killasgroup=yes", "stopasgroup=off", "priority=1").notes == (
        program("priority=1").notes
    )


def test_an_unknown_key_is_noted() -> None:
    assert notes(program("serverurl=AUTO", "colour=red"), "web") == [
        "serverurl: not imported, there is no equivalent here",
        "colour: not imported, there is no equivalent here",
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("80%(process_num)02d", ["8000", "8001", "8002"]),
        ("800%(process_num)d", ["8000", "8001", "8002"]),
        ("w_%(process_num)02d", ["w_00", "w_01", "w_02"]),
        ("w_%(process_num)s", ["w_0", "w_1", "w_2"]),
        ("0%(process_num)03d", ["0000", "0001", "0002"]),
    ],
)
def test_process_numbers_are_preserved(text: str, values: list[str]) -> None:
    found = only("numprocs=3", "process_name=%(process_num)d", f"environment=A={text}")
    assert [fill(found["environment"][0]["value"], index) for index in range(3)] == values


def test_the_start_of_the_numbers_is_preserved() -> None:
    found = only(
        "numprocs=2", "process_name=%(process_num)d", "numprocs_start=9", 'environment=A="90%(process_num)02d"'
    )
    assert [fill(found["environment"][0]["value"], index) for index in range(2)] == ["9009", "9010"]


@pytest.mark.parametrize("line", ["environment=A=w_%(process_num)02d", "directory=/srv/%(process_num)d"])
def test_numbers_without_equivalent_placeholder_become_separate_programs(line: str) -> None:
    imported = program("numprocs=11", "process_name=%(program_name)s_%(process_num)02d", line)
    names = [found["name"] for found in imported.definitions]
    assert names == [f"web_{number:02d}" for number in range(11)]
    assert imported.definitions[10]["tags"] == ["web"]
    assert "10" in str(
        imported.definitions[10].get("environment") or imported.definitions[10]["working_directory"]
    )
    assert mentions(imported, "", "[program:web] became 11 programs")


def test_zero_retries_do_not_become_unlimited_restarts() -> None:
    imported = program("startretries=0")
    assert imported.definitions[0]["max_restarts"] == 1
    assert mentions(imported, "web", "0 became 1")


def test_a_too_small_log_size_is_raised_to_the_minimum() -> None:
    imported = program("stdout_logfile_maxbytes=10KB")
    assert imported.definitions[0]["log_max_bytes"] == 65536
    assert mentions(imported, "web", "raised to the minimum of 65536 bytes")


def test_a_relative_folder_is_resolved_from_the_file_or_noted() -> None:
    assert only("directory=app")["working_directory"] == "/etc/supervisor/conf.d/app"
    nowhere = program("directory=app", filename="x.conf")
    assert "working_directory" not in nowhere.definitions[0]
    assert mentions(nowhere, "web", "directory app")


def test_the_environment_of_a_program_can_be_used_in_its_command() -> None:
    text = '[program:web]\ncommand=/bin/web %(ENV_MODE)s\nenvironment=MODE="fast"'
    assert read(text, kind="supervisor").definitions[0]["command"] == "/bin/web fast"


def test_an_upload_reads_no_file_of_this_machine() -> None:
    text = (FOLDER / "supervisord.conf").read_text()
    imported = read(text, filename=str(FOLDER / "supervisord.conf"), files=NoFiles())
    assert [found["name"] for found in imported.definitions] == ["web", "beat"]
    assert mentions(imported, "", "[include] conf.d/*.conf")


def test_an_include_that_is_not_a_regular_file_is_noted(tmp_path: Path) -> None:
    (tmp_path / "folder.conf").mkdir()
    text = "[program:a]\ncommand=a\n[include]\nfiles=*.conf /dev/zero"
    imported = read(text, filename=str(tmp_path / "s.conf"))
    assert mentions(imported, "", "folder.conf: not read, it is not a regular file")
    assert mentions(imported, "", "/dev/zero: not read, it is not a regular file")


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (["autostart=perhaps"], 3, "autostart: 'perhaps' is neither true nor false"),
        (["; comment", "startsecs=soon"], 4, "startsecs: 'soon' is not a number"),
        (["numprocs=0"], 3, "numprocs"),
        (["numprocs=5000"], 3, "numprocs"),
        (["stopwaitsecs=-1"], 3, "stopwaitsecs"),
        (["exitcodes=0,256"], 3, "exitcodes"),
        (["autorestart=sometimes"], 3, "autorestart"),
        (["stdout_logfile_maxbytes=5XB"], 3, "is not a size"),
        (["umask=999"], 3, "umask"),
        (["environment=A"], 3, 'write KEY="value"'),
        (['environment=A="x'], 3, "environment"),
        (["nonsense"], 3, "expected key=value"),
    ],
)
def test_an_invalid_value_is_refused_with_its_line(lines: list[str], line: int, words: str) -> None:
    with pytest.raises(FormatError, match=f"x.conf, line {line}: ") as refused:
        program(*lines)
    assert refused.value.line == line
    assert words in refused.value.message


def test_text_before_the_first_section_is_refused() -> None:
    with pytest.raises(FormatError, match="line 1"):
        read("command=x", kind="supervisor")


def test_a_program_without_a_command_is_refused() -> None:
    with pytest.raises(FormatError, match=r"line 2: \[program:a\] command: is missing"):
        read("; nothing\n[program:a]\nautostart=true", kind="supervisor")
