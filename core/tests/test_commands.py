"""Commands: their output and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from core import key_rotation
from core.access import Role, authenticate_token, create_token
from core.key_rotation import Visit, register_rotation
from core.models import ApiToken
from core.secrets import decrypt, encrypt

from .conftest import People
from .installation import Installation


def test_only_the_new_token_is_printed_to_stdout(installation: Installation) -> None:
    done = installation.succeed("token", "create", "--user", "alice", "--scope", "operate", "--name", "ci")
    assert re.fullmatch(r"pm_[0-9a-z]{8}_[A-Za-z0-9_-]{43}\n", done.stdout)
    assert done.stdout.strip()[12:] not in done.stderr
    assert installation.sql("SELECT actor LIKE '%(command line)' FROM core_auditentry") == [(1,)]


def test_usage_errors_exit_with_2_and_other_errors_with_1(installation: Installation) -> None:
    assert installation.run("token", "create", "--user", "alice", "--scope", "root").returncode == 2
    done = installation.run("token", "create", "--user", "nobody", "--scope", "read")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "CommandError: There is no user nobody.\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scope": "admin"}, "has the role read"),
        ({"scope": "read", "name": ""}, "1 to 80 characters"),
        ({"scope": "read", "expires_days": -1.0}, "in the past"),
        ({"scope": "read", "expires_days": 1e300}, "is out of range"),
        ({"scope": "read", "expires_days": float("nan")}, "is out of range"),
    ],
)
def test_invalid_token_options_are_refused(person: People, options: dict[str, Any], reason: str) -> None:
    person(role=Role.READ)
    with pytest.raises(CommandError, match=reason):
        call_command("token", "create", user="alice", **options)


def test_tokens_are_listed_without_their_secret_part(person: People, capsys: pytest.CaptureFixture[str]) -> None:
    token, plaintext = create_token(person(role=Role.READ), "ci", "read")
    call_command("token", "list")
    call_command("token", "list", "--json")
    shown = capsys.readouterr().out
    assert plaintext[12:] not in shown
    listed = json.loads(shown[shown.index("[") :])
    assert [(t["prefix"], t["user"], t["scope"], t["expires_at"]) for t in listed] == [
        (token.prefix, "alice", "read", None)
    ]


def test_tokens_are_listed_with_their_expiry_in_local_time(
    person: People, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    token, _clear = create_token(person(role=Role.READ), "ci", "read")
    ApiToken.objects.filter(pk=token.pk).update(expires_at="2026-11-23T20:00:00Z")
    call_command("token", "list")
    assert "never used, expires 2026-11-24 05:00 KST" in capsys.readouterr().out


@pytest.mark.parametrize("skip", [0, 3])
def test_a_token_is_revoked_by_its_prefix(person: People, skip: int) -> None:
    token, plaintext = create_token(person(role=Role.READ), "ci", "read")
    call_command("token", "revoke", token.prefix[skip:])
    assert authenticate_token(plaintext) is None


@pytest.mark.parametrize("prefix", ["pm_", "", "%", "pm_zzzzzzzz"])
def test_revoking_an_unknown_prefix_is_an_error(person: People, prefix: str) -> None:
    create_token(person(role=Role.READ), "ci", "read")
    with pytest.raises(CommandError, match="No token has the prefix"):
        call_command("token", "revoke", prefix)
    assert ApiToken.objects.exists()


# --- Keys -----------------------------------------------------------------------------------------------


def test_rotating_adds_a_key_and_dropping_keeps_only_the_newest(data_dir: Path, db: None) -> None:
    call_command("rotate_keys")
    call_command("rotate_keys")
    newest, *old = (data_dir / "secrets.key").read_text().split()
    assert len(old) == 2
    call_command("rotate_keys", drop_old=True, grace=0.0)
    assert (data_dir / "secrets.key").read_text().split() == [newest]


def test_another_host_decrypts_with_its_copy_of_the_keys_after_old_ones_are_dropped(
    data_dir: Path, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = [encrypt("s3cret")]
    monkeypatch.setattr(key_rotation, "_stores", {})

    def visit_all(visit: Visit) -> None:
        stored[:] = [visit(token) for token in stored]

    register_rotation("samples", visit_all)
    call_command("rotate_keys")
    copied = (data_dir / "secrets.key").read_text()
    call_command("rotate_keys", drop_old=True, grace=0.0)
    (data_dir / "secrets.key").write_text(copied)
    assert [decrypt(token) for token in stored] == ["s3cret"]


def test_old_keys_are_kept_while_a_secret_cannot_be_decrypted(
    data_dir: Path, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Fernet(Fernet.generate_key()).encrypt(b"lost").decode()
    monkeypatch.setattr(key_rotation, "_stores", {})

    def visit_all(visit: Visit) -> None:
        visit(lost)

    register_rotation("samples", visit_all)
    call_command("rotate_keys")
    before = (data_dir / "secrets.key").read_text()
    with pytest.raises(CommandError, match="old keys were kept"):
        call_command("rotate_keys", drop_old=True, grace=0.0)
    assert (data_dir / "secrets.key").read_text() == before


def test_simultaneous_rotations_lose_no_key(installation: Installation) -> None:
    racers = [installation.start("rotate_keys") for _ in range(3)]
    codes = [(racer.communicate(timeout=120), racer.returncode)[1] for racer in racers]
    keys = (installation.data / "secrets.key").read_text().split()
    assert 0 in codes
    assert len(keys) == len(set(keys)) == 1 + codes.count(0)


def test_a_killed_rotation_loses_no_key(installation: Installation) -> None:
    installation.succeed("rotate_keys")
    before = (installation.data / "secrets.key").read_text().split()
    process = installation.start("rotate_keys", "--drop-old", "--grace", "60")
    assert process.stderr is not None
    assert any("Waiting" in line for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (installation.data / "secrets.key").read_text().split() == before
    assert installation.run("rotate_keys").returncode == 0


# --- Doctor ---------------------------------------------------------------------------------------------


def diagnosis(installation: Installation, **environment: str) -> tuple[int, dict[str, str]]:
    done = installation.run("doctor", "--json", **environment)
    return done.returncode, {finding["id"]: finding["status"] for finding in json.loads(done.stdout)}


def test_an_intact_installation_passes_the_doctor(installation: Installation) -> None:
    code, found = diagnosis(installation)
    assert code == 0
    assert "fail" not in found.values()
    assert {"data.private", "database.integrity", "secrets.keys", "machine.pidfd", "agent.alive"} <= found.keys()


def test_the_doctor_reports_all_problems_at_once(installation: Installation) -> None:
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


def test_a_damaged_database_is_reported_without_a_traceback(installation: Installation) -> None:
    content = bytearray(installation.database.read_bytes())
    content[4096 * 3 : 4096 * 30] = os.urandom(4096 * 27)
    installation.database.write_bytes(content)
    done = installation.run("doctor")
    assert done.returncode == 1
    assert "database" in done.stderr
    assert "Traceback" not in done.stderr
