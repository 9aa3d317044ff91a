"""`program list`, `status`, `remove` and the selection of programs, without an agent."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from core.cli.subcommand import Subcommand
from core.tests.databases import url_of_this_database
from programs import services
from programs.hosts import this_host
from programs.management.commands.program import SUBCOMMANDS
from programs.models import Host, Intent, Process, Program

from .actors import MANAGE
from .program_command import program

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.RUN_DIR = tmp_path / "run"


@pytest.fixture
def agent_alive() -> None:
    """A fresh heartbeat, without an agent."""
    Host.objects.filter(pk=this_host().pk).update(heartbeat_at=timezone.now())


def define(name: str, **fields: Any) -> Program:
    return services.save_definition({"name": name, "command": "sleep 1", **fields}, actor="tester").program


def running(name: str, **fields: Any) -> Program:
    made = define(name, instances_max=9, tags=fields.pop("tags", []))
    started = timezone.now() - timedelta(seconds=3725)
    values = {"state": "running", "pid": 123, "cpu_percent": 12.34, "memory_bytes": 1536, "started_at": started}
    Process.objects.create(program=made, index=0, **values | fields)
    return made


def test_every_subcommand_can_be_loaded() -> None:
    for name, entry in SUBCOMMANDS.items():
        assert isinstance(entry.load(), Subcommand), name


def test_the_list_shows_a_line_for_each_program(agent_alive: None) -> None:
    running("web", restarts=2)
    define("db")
    head, first, second = program("list").lines
    assert head.split() == ["name", "state", "pid", "cpu", "memory", "uptime", "restarts", "reason"]
    assert first.split() == ["db", "stopped", "-", "-", "-", "-", "0"]
    assert second.split() == ["web", "running", "123", "12.3%", "1.5", "KB", "1h", "2m", "2"]


def test_instances_are_listed_below_their_program(agent_alive: None) -> None:
    made = running("web")
    Process.objects.create(program=made, index=1, state="fatal", reason="no such command: foo")
    _, whole, first, second = program("status", "web").lines
    assert whole.split()[:5] == ["web", "fatal", "1", "of", "1"]
    assert first.split()[:3] == ["web:0", "running", "123"]
    assert second.endswith("no such command: foo")


def test_json_output_is_that_of_the_api(agent_alive: None) -> None:
    running("web", tags=["prod"])
    [shown] = program("status", "web", "--json").json
    assert (shown["state"], shown["pid"], shown["tags"]) == ("running", 123, ["prod"])
    assert shown["instances"] == {"running": 1, "desired": 1}
    assert [entry["name"] for entry in program("list", "--json").json] == ["web"]


def test_status_of_a_program_that_is_not_running_exits_with_3(agent_alive: None) -> None:
    running("web")
    define("db")
    assert program("status", "web").code == 0
    assert program("status", "web", "db").code == 3
    assert (program("status").code, program("list", "db").code) == (0, 0)


def test_programs_are_selected_by_name_or_id_each_once(agent_alive: None) -> None:
    made = running("web")
    running(str(made.pk + 50))
    assert [e["id"] for e in program("list", "--json", str(made.pk), "web").json] == [made.pk]
    assert [e["name"] for e in program("list", "--json", str(made.pk + 50)).json] == [str(made.pk + 50)]


def test_a_name_wins_over_an_id() -> None:
    made = define("web")
    define(str(made.pk))
    assert [e["name"] for e in program("list", "--json", str(made.pk)).json] == [str(made.pk)]


def test_an_unknown_name_refuses_everything_and_suggests_the_nearest() -> None:
    define("minecraft")
    done = program("start", "minecraft", "minecarft", "zzz")
    assert done.code == 1
    assert done.err.splitlines() == [
        "There is no program minecarft. Did you mean minecraft?",
        "There is no program zzz.",
    ]
    assert not Intent.objects.exists()


def test_tags_select_programs() -> None:
    define("web", tags=["prod", "front"])
    define("db", tags=["prod"])
    define("toy")
    assert [e["name"] for e in program("list", "--json", "--tag", "prod").json] == ["db", "web"]
    assert program("list", "--tag", "none").err == "No program has the tag none.\n"


@pytest.mark.parametrize("words", [["start"], ["stop", "--all", "web"], ["kill", "--tag"], [], ["fly"], ["add"]])
def test_a_wrong_command_line_is_a_usage_error(words: list[str]) -> None:
    assert program(*words).code == 2


def test_without_an_agent_the_request_is_kept_and_the_reason_shown() -> None:
    define("web", autostart=False)
    done = program("start", "web")
    said = "the agent on testhost sends no heartbeat; is `manage.py serve` running?"
    assert (done.code, done.out) == (1, f"web: requested, but {said}\n")
    assert Program.objects.get().desired_state == "running"


def test_without_waiting_the_same_is_a_warning() -> None:
    define("web", autostart=False)
    done = program("start", "web", "--no-wait")
    assert (done.code, done.out) == (0, "web: start requested\n")
    assert "sends no heartbeat" in done.err


def test_states_are_unknown_while_the_heartbeat_is_lost() -> None:
    running("web")
    done = program("status", "web")
    assert (done.code, done.lines[1].split()[1]) == (3, "unknown")
    assert "the agent on testhost sends no heartbeat" in done.err


def test_a_dead_agent_is_noticed_before_its_heartbeat_is_old(agent_alive: None, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "agent.lock").touch()
    running("web")
    done = program("stop", "web", "--timeout", "15")
    assert (done.code, "sends no heartbeat" in done.out) == (1, True)


def test_waiting_ends_at_the_timeout(agent_alive: None) -> None:
    define("web", autostart=False)
    done = program("start", "web", "--timeout", "0.1", "--json")
    [outcome] = done.json
    assert (done.code, outcome["done"], outcome["detail"]) == (1, False, "stopped after 0s")


def test_removal_needs_confirmation() -> None:
    define("web")
    assert "Confirm with --yes" in program("remove", "web").err
    assert program("remove", "web", answers="n\n").code == 1
    assert program("remove", "web", "--no-wait", answers="yes\n").code == 0
    assert not Program.objects.exists()


def test_dependent_programs_are_removed_together_or_not_at_all() -> None:
    define("db")
    define("web", depends_on=[{"program": "db"}])
    done = program("remove", "db", "--yes")
    assert (done.code, done.err) == (1, "db is needed by web.\n")
    assert program("remove", "db", "web", "--yes", "--no-wait").code == 0


def test_scaling_beyond_the_limits_is_refused() -> None:
    define("web", instances_max=2)
    done = program("scale", "web", "3")
    assert (done.code, done.err) == (1, "instances: Must be between 1 and 2 for web.\n")


@pytest.mark.parametrize("words", [(), ("--follow",)])
def test_logs_of_another_host_are_refused_with_its_name(words: tuple[str, ...]) -> None:
    define("web")
    Host.objects.all().delete()
    Host.objects.create(name="nas", is_default=True)
    done = program("logs", "web", *words)
    assert (done.code, done.out, "web runs on nas" in done.err) == (1, "", True)


def test_input_needs_a_console() -> None:
    define("web")
    assert "has no console" in program("input", "web", "hello").err


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--instance", "7"), 1), (("-n", "many"), 2), (("-f", "--until", "1m"), 2), (("--since", "never"), 2)],
)
def test_logs_that_cannot_be_shown(words: tuple[str, ...], code: int) -> None:
    define("count")
    assert program("logs", "count", *words).code == code


def test_a_database_without_tables_is_reported(tmp_path: Path) -> None:
    done = real("status", DATA_DIR=str(tmp_path / "new"))
    assert (done.returncode, done.stderr) == (
        *(1, "The database has no tables yet. Run `manage.py serve`, which creates them.\n"),
    )


def real(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(MANAGE), "program", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_usage_errors_end_a_real_command_with_2() -> None:
    done = real("start", DATABASE_URL=url_of_this_database())
    assert done.returncode == 2
    assert done.stderr.startswith("usage: manage.py program start")


def test_a_command_loads_only_what_it_needs() -> None:
    """Each of these takes longer than everything else: with them a status would exceed 0.7 s."""
    heavy = {"ninja", "pydantic", "yaml", "unfold", "channels", "django.contrib.admin", "aiohttp", "apprise"}
    script = "import sys, manage; sys.argv[1:] = ['program', 'list']; manage.main()"
    script += f"; print({heavy} & {{*sys.modules}})"
    database = url_of_this_database()
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=MANAGE.parent,
        env={**os.environ, "DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("words", [["add", "\udcff", "true"], ["add", "web", "\udcff"], ["status", "\udcff"]])
def test_arguments_that_are_not_utf8_are_refused(words: list[str]) -> None:
    assert program(*words).code == 1
    assert not Program.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_terminal_that_lacks_the_letters_of_a_name_still_shows_the_list() -> None:
    define("게임")
    done = real("list", DATABASE_URL=url_of_this_database(), PYTHONIOENCODING="ascii")
    assert (done.returncode, r"\uac8c\uc784" in done.stdout) == (0, True), done.stderr


def test_a_key_file_that_others_can_read_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "secrets.key").write_text("open to all")
    (tmp_path / "secrets.key").chmod(0o644)
    done = program("add", "--secret-env", "TOKEN", "web", "cat", stdin="value\n")
    assert (done.code, "secrets.key" in done.err, "value" in done.err) == (1, True, False)
