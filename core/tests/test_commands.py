"""The commands as people type them: what goes where, and the exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from core.access import Role, authenticate_token, create_token
from core.models import ApiToken

from .conftest import People
from .installation import Installation


def test_a_new_token_is_all_that_goes_to_stdout(installation: Installation) -> None:
    done = installation.succeed("token", "create", "--user", "alice", "--scope", "operate", "--name", "ci")
    assert re.fullmatch(r"pm_[0-9a-z]{8}_[A-Za-z0-9_-]{43}\n", done.stdout)
    assert done.stdout.strip()[12:] not in done.stderr
    assert installation.sql("SELECT actor LIKE '%(command line)' FROM core_auditentry") == [(1,)]


def test_a_usage_error_and_a_refusal_have_their_exit_codes(installation: Installation) -> None:
    assert installation.run("token", "create", "--user", "alice", "--scope", "root").returncode == 2
    done = installation.run("token", "create", "--user", "nobody", "--scope", "read")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "CommandError: There is no user nobody.\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scope": "admin"}, "has the role read"),
        ({"scope": "read", "name": ""}, "needs a name"),
        ({"scope": "read", "expires_days": -1.0}, "has passed"),
        ({"scope": "read", "expires_days": 1e300}, "are no date"),
        ({"scope": "read", "expires_days": float("nan")}, "are no date"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(person: People, options: dict[str, Any], reason: str) -> None:
    person(role=Role.READ)
    with pytest.raises(CommandError, match=reason):
        call_command("token", "create", user="alice", **options)


def test_tokens_are_listed_without_their_secret_part(person: People, capsys: pytest.CaptureFixture[str]) -> None:
    token, clear = create_token(person(role=Role.READ), "ci", "read")
    call_command("token", "list")
    call_command("token", "list", "--json")
    shown = capsys.readouterr().out
    assert clear[12:] not in shown
    listed = json.loads(shown[shown.index("[") :])
    assert [(t["prefix"], t["user"], t["scope"], t["expires_at"]) for t in listed] == [
        (token.prefix, "alice", "read", None)
    ]


def test_a_token_is_listed_with_its_end_by_the_clock_on_the_wall(
    person: People, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    token, _clear = create_token(person(role=Role.READ), "ci", "read")
    ApiToken.objects.filter(pk=token.pk).update(expires_at="2026-11-23T20:00:00Z")
    call_command("token", "list")
    assert "never used, expires 2026-11-24 05:00 KST" in capsys.readouterr().out


@pytest.mark.parametrize("skip", [0, 3])
def test_a_token_is_revoked_by_how_it_begins(person: People, skip: int) -> None:
    token, clear = create_token(person(role=Role.READ), "ci", "read")
    call_command("token", "revoke", token.prefix[skip:])
    assert authenticate_token(clear) is None


@pytest.mark.parametrize("prefix", ["pm_", "", "%", "pm_zzzzzzzz"])
def test_revoking_nothing_is_an_error(person: People, prefix: str) -> None:
    create_token(person(role=Role.READ), "ci", "read")
    with pytest.raises(CommandError, match="No token begins with"):
        call_command("token", "revoke", prefix)
    assert ApiToken.objects.exists()


# --- Keys -----------------------------------------------------------------------------------------------


def test_keys_are_rotated_and_old_ones_dropped_when_asked(data_dir: Path, db: None) -> None:
    call_command("rotate_keys")
    call_command("rotate_keys")
    assert len((data_dir / "secrets.key").read_text().split()) == 3
    newest = (data_dir / "secrets.key").read_text().split()[0]
    call_command("rotate_keys", drop_old=True, grace=0.0)
    assert len((data_dir / "secrets.key").read_text().split()) == 1
    assert newest not in (data_dir / "secrets.key").read_text()


def test_two_rotations_at_once_do_not_lose_a_key(installation: Installation) -> None:
    racers = [installation.start("rotate_keys") for _ in range(3)]
    codes = [(racer.communicate(timeout=120), racer.returncode)[1] for racer in racers]
    keys = (installation.data / "secrets.key").read_text().split()
    assert 0 in codes
    assert len(keys) == len(set(keys)) == 1 + codes.count(0)


def test_a_rotation_that_is_killed_loses_nothing(installation: Installation) -> None:
    installation.succeed("rotate_keys")
    before = (installation.data / "secrets.key").read_text().split()
    process = installation.start("rotate_keys", "--drop-old", "--grace", "60")
    deadline = time.monotonic() + 20
    while len((installation.data / "secrets.key").read_text().split()) == len(before):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (installation.data / "secrets.key").read_text().split()[1:] == before
    assert installation.run("rotate_keys").returncode == 0


# --- Doctor ---------------------------------------------------------------------------------------------


def diagnosis(installation: Installation, **environment: str) -> tuple[int, dict[str, str]]:
    done = installation.run("doctor", "--json", **environment)
    return done.returncode, {finding["id"]: finding["status"] for finding in json.loads(done.stdout)}


def test_a_sound_installation_passes(installation: Installation) -> None:
    code, found = diagnosis(installation)
    assert code == 0
    assert "fail" not in found.values()
    assert {"data.private", "database.integrity", "secrets.keys", "machine.pidfd", "agent.alive"} <= found.keys()


def test_everything_that_is_wrong_is_told_at_once(installation: Installation) -> None:
    installation.data.chmod(0o755)
    (installation.data / "secrets.key").write_text("x")
    (installation.data / "secrets.key").chmod(0o644)
    newest = "SELECT max(name) FROM django_migrations WHERE app = 'core'"
    installation.sql(f"DELETE FROM django_migrations WHERE app = 'core' AND name = ({newest})")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        code, found = diagnosis(installation, BIND=bind, LOG_LEVEL="loud", REDIS_URL="redis://127.0.0.1:1/0")
    failed = {name for name, status in found.items() if status == "fail"}
    assert code == 1
    assert failed >= {
        "data.private",
        "secrets.keys",
        "database.migrations",
        "web.port",
        "redis.answers",
        "settings.core.E001",
    }


def test_a_damaged_database_is_told_without_a_traceback(installation: Installation) -> None:
    content = bytearray(installation.database.read_bytes())
    content[4096 * 3 : 4096 * 30] = os.urandom(4096 * 27)
    installation.database.write_bytes(content)
    done = installation.run("doctor")
    assert done.returncode == 1
    assert "database" in done.stderr
    assert "Traceback" not in done.stderr
