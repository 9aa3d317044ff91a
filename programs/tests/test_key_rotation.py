from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import key_rotation
from core.secrets import keys_path
from programs import services
from programs.definition.environment import environment_of, secret_values
from programs.key_rotation import environment_variables
from programs.models import Program

SECRET = {"name": "TOKEN", "value": "s3cret", "secret": True}


@pytest.fixture
def program(db: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    settings.DATA_DIR, settings.RUN_DIR = tmp_path, tmp_path / "run"
    monkeypatch.setattr(key_rotation, "_stores", {"environment": environment_variables})
    values = {"name": "web", "command": "sleep 1", "environment": [SECRET, {"name": "MODE", "value": "prod"}]}
    return services.save_definition(values, actor="alice").program


def test_secret_variables_are_encrypted_with_the_new_key(program: Program) -> None:
    key_rotation.add_key()
    [count] = key_rotation.re_encrypt_all()
    key_rotation.keep_newest_key()
    assert (count.seen, count.changed) == (1, 1)
    again = Program.objects.get(pk=program.pk)
    assert environment_of(again) == {"TOKEN": "s3cret", "MODE": "prod"}
    assert again.revision > program.revision


def test_replaced_secrets_are_encrypted_with_the_new_key_too(program: Program) -> None:
    values = {"environment": [{**SECRET, "value": "other"}]}
    program = services.save_definition(values, actor="alice", program=program).program
    key_rotation.add_key()
    key_rotation.re_encrypt_all()
    key_rotation.keep_newest_key()
    assert secret_values(Program.objects.get(pk=program.pk)) == ["other", "s3cret"]


def test_a_second_rotation_writes_nothing(program: Program) -> None:
    key_rotation.re_encrypt_all()
    assert Program.objects.get(pk=program.pk).revision == program.revision


def test_a_program_being_removed_is_rotated_too(program: Program) -> None:
    services.remove(program, actor="alice")
    key_rotation.add_key()
    assert key_rotation.re_encrypt_all()[0].changed == 1


def test_an_unreadable_value_is_counted_and_kept(program: Program) -> None:
    keys_path().unlink()
    [count] = key_rotation.check_all()
    assert (count.seen, count.unreadable) == (1, 1)
    assert Program.objects.get(pk=program.pk).environment == program.environment
