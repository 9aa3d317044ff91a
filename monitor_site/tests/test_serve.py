from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.fernet import Fernet

from core.keyfile import create
from monitor_site.serving.instance_lock import instance_lock

from .installation import Installation, free_port, wait_until

ADD_A_SECRET = """
from core.secrets import encrypt
from programs.models import Program
secret = {"name": "TOKEN", "secret": True, "encrypted": encrypt("s3cret")}
Program.objects.create(name="web", command="true", environment=[secret])
"""
SHOW_THE_SECRET = """
from programs.definition.environment import secret_values
from programs.models import Program
print(*secret_values(Program.objects.get()))
"""


def refused(installation: Installation, *arguments: str, **environment: str) -> str:
    """What `serve` prints when it starts nothing."""
    done = installation.run("serve", *arguments, **environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "agent" not in done.stdout
    return done.stderr


def test_a_second_serve_on_the_same_data_names_the_first_one(installation: Installation, settings: Any) -> None:
    settings.RUN_DIR = installation.folder / "run"
    with instance_lock() as lock:
        lock.publish("http://127.0.0.1:8000")
        said = refused(installation, "--bind", "127.0.0.1:0")
    assert f"already runs on {installation.folder} (pid {os.getpid()}) at http://127.0.0.1:8000/" in said


def test_a_port_in_use_is_reported_before_anything_starts(empty_installation: Installation) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = refused(empty_installation, "--bind", f"127.0.0.1:{port}")
    assert f"Port {port} is in use" in said
    assert not empty_installation.database.exists()


def test_an_invalid_address_is_refused(empty_installation: Installation) -> None:
    assert "BIND is 'here:there', which is not an address to listen on" in refused(
        empty_installation, BIND="here:there"
    )


def test_listening_on_all_addresses_requires_allowed_hosts(empty_installation: Installation) -> None:
    assert "Set ALLOWED_HOSTS" in refused(empty_installation, "--bind", "0.0.0.0:0")


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path, empty_installation: Installation) -> None:
    (tmp_path / "file").touch()
    said = refused(empty_installation, DATA_DIR=str(tmp_path / "file"))
    assert said.startswith(f"Invalid settings: DATA_DIR is '{tmp_path / 'file'}'; it must be a writable folder")


def test_an_invalid_setting_is_refused(empty_installation: Installation) -> None:
    said = refused(empty_installation, SAMPLE_SECONDS="often")
    assert said == ("Invalid settings: SAMPLE_SECONDS is 'often'; it must be a number, for example 2.5.\n")


def test_a_setting_out_of_range_is_not_blamed_on_the_database(empty_installation: Installation) -> None:
    said = refused(empty_installation, "--bind", "127.0.0.1:0", SAMPLE_SECONDS="0.1")
    assert "SAMPLE_SECONDS is 0.1; it must be between 0.2 and 60." in said
    assert "database" not in said


def test_a_full_disk_is_named_in_the_error(empty_installation: Installation) -> None:
    (empty_installation.folder / "run").mkdir()
    (empty_installation.folder / "run" / "serve.json").symlink_to("/dev/full")
    assert ": the disk is full." in refused(empty_installation, "--bind", "127.0.0.1:0")


@pytest.mark.parametrize("command", ["serve", "agent", "web", "jobs"])
def test_a_key_file_that_others_can_read_is_refused_at_the_start(installation: Installation, command: str) -> None:
    key = installation.folder / "secrets.key"
    create(key, Fernet.generate_key().decode())
    key.chmod(0o640)
    done = installation.run(command, BIND="127.0.0.1:0")
    assert done.returncode == 1
    assert (
        f"Cannot use the encryption keys: {key} is readable by other users; run: chmod 600 {key}." in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_a_missing_key_file_is_refused_until_the_old_one_is_back(empty_installation: Installation) -> None:
    assert empty_installation.run("prepare").returncode == 0
    key = empty_installation.folder / "secrets.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert empty_installation.run("shell", "--verbosity=0", "--command", ADD_A_SECRET).returncode == 0
    away = key.rename(key.with_name("away"))
    assert "secrets.key is missing" in refused(empty_installation, "--bind", "127.0.0.1:0")
    assert not key.exists()
    away.rename(key)
    done = empty_installation.run("shell", "--verbosity=0", "--command", SHOW_THE_SECRET)
    assert (empty_installation.run("prepare").returncode, done.stdout) == (0, "s3cret\n")


def test_a_failing_migration_starts_nothing(empty_installation: Installation) -> None:
    with closing(sqlite3.connect(empty_installation.database)) as connection:
        connection.execute("create table core_heartbeat (name text)")
    said = refused(empty_installation, "--bind", "127.0.0.1:0")
    assert "core_heartbeat" in said
    assert "Nothing was started" in said


def test_an_unreachable_database_starts_nothing(empty_installation: Installation) -> None:
    said = refused(empty_installation, "--bind", "127.0.0.1:0", DATABASE_URL="sqlite:////nowhere/at/all.sqlite3")
    assert "unable to open database file" in said


def test_children_do_not_inherit_the_password_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from monitor_site.serving.children import inherited_environment

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "secret")
    monkeypatch.setenv("MONITOR_APPS", "lean")
    assert not {"DJANGO_SUPERUSER_PASSWORD", "MONITOR_APPS"} & set(inherited_environment())


# --- The whole monitor ----------------------------------------------------------------------------------


def running(installation: Installation) -> dict[str, psutil.Process]:
    """The main processes by the name of their command."""
    found: dict[str, psutil.Process] = {}
    for process in installation.processes():
        with contextlib.suppress(psutil.Error, ProcessLookupError):  # it has exited
            name = command_of(process)
            if name and process.pid == os.getpgid(process.pid):
                found.setdefault(name, process)
    return found


def complete(processes: dict[str, psutil.Process]) -> dict[str, psutil.Process]:
    """Empty unless all are there."""
    return processes if set(processes) == {"serve", "agent", "web", "jobs"} else {}


def command_of(process: psutil.Process) -> str:
    """The command of manage.py; empty for other processes and while a process starts or exits."""
    match process.cmdline():
        case [_, script, name, *_] if script.endswith("manage.py"):
            return str(name)
    return ""


def test_the_monitor_starts_responds_restarts_a_child_and_stops(installation: Installation) -> None:
    port = free_port()
    serve = installation.start("manage.py", "serve", "--bind", f"127.0.0.1:{port}")
    wait_until(lambda: "Ctrl-C" in installation.printed())
    assert f"running at http://127.0.0.1:{port}/\n" in installation.printed()
    assert json.loads((installation.folder / "run" / "serve.json").read_text())["pid"] == serve.pid
    link = re.search(r"http://\S+/setup/\S+/", installation.printed())
    assert link
    assert b"Create account" in urllib.request.urlopen(link[0], timeout=60).read()
    first = wait_until(lambda: complete(running(installation)))
    first["web"].kill()
    wait_until(lambda: running(installation).get("web", first["web"]) != first["web"])
    wait_until(lambda: installation.query("select 1 from core_heartbeat where name = 'jobs'"))
    serve.terminate()
    assert serve.wait(60) == 0
    assert installation.processes() == []
    assert not (installation.folder / "run" / "serve.json").exists()


def program(installation: Installation) -> psutil.Process:
    """Waits for the process of the only program."""
    (pid,) = wait_until(lambda: installation.query("select pid from programs_process where pid is not null"))[0]
    return psutil.Process(pid)


def test_programs_survive_a_killed_monitor_and_the_next_one_adopts_them(installation: Installation) -> None:
    bind = f"127.0.0.1:{free_port()}"
    first = installation.start("manage.py", "serve", "--bind", bind)
    wait_until(lambda: "running at" in installation.printed())
    assert installation.run("program", "add", "sleeper", "sleep 60").returncode == 0
    sleeper = program(installation)
    first.kill()
    second = installation.start("manage.py", "serve", "--stop-programs", "--bind", bind)
    wait_until(lambda: installation.printed().count("running at") == 2)
    assert program(installation) == sleeper
    second.terminate()
    assert second.wait(60) == 0
    wait_until(lambda: installation.processes() == [] and not sleeper.is_running())
