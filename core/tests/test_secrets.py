from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as django_settings

from core import key_rotation, secrets
from core.key_rotation import Visit, register_rotation
from core.keyfile import key_file, replace_private
from core.secrets import SecretUnreadableError, decrypt, encrypt, keys_path, re_encrypt

RACE = """
import sys, time
from pathlib import Path
from core.keyfile import key_file
go = Path(sys.argv[1]) / "go"
print("ready", flush=True)
while not go.exists():
    pass
print(key_file(Path(sys.argv[1]) / "secrets.key", lambda: sys.argv[2]))
"""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The only ciphertexts that a rotation visits."""
    held: list[str] = []

    def visit_all(visit: Visit) -> None:
        held[:] = [visit(token) for token in held]

    monkeypatch.setattr(key_rotation, "_stores", {})
    register_rotation("samples", visit_all)
    return held


def test_encrypted_values_can_be_decrypted_and_the_key_file_is_private(data_dir: Path) -> None:
    token = encrypt("s3cret")
    assert decrypt(token) == "s3cret"
    assert "s3cret" not in token
    assert keys_path().stat().st_mode & 0o777 == 0o600


def test_processes_that_create_a_key_at_once_use_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    racers = [
        subprocess.Popen(
            [*command, Fernet.generate_key().decode()],
            stdout=subprocess.PIPE,
            text=True,
            cwd=django_settings.BASE_DIR,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    assert len({racer.communicate(timeout=60)[0] for racer in racers}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go", "secrets.key"]


def test_threads_that_create_a_key_at_once_use_the_same(tmp_path: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        found.append(key_file(tmp_path / "k", lambda: os.urandom(8).hex()))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_key_file_that_others_can_read_is_refused(data_dir: Path) -> None:
    token = encrypt("s3cret")
    keys_path().chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        decrypt(token)


@pytest.mark.parametrize("content", ["", "\n\n", "no key", "\x00"])
def test_a_damaged_key_file_raises_an_error(data_dir: Path, content: str) -> None:
    replace_private(keys_path(), content)
    with pytest.raises(SecretUnreadableError, match="has no valid keys"):
        encrypt("x")


@pytest.mark.parametrize("token", ["", "nonsense", "gAAAAA"])
def test_an_undecryptable_value_raises_an_error(data_dir: Path, token: str) -> None:
    with pytest.raises(SecretUnreadableError, match="restore the file"):
        decrypt(token)
    with pytest.raises(SecretUnreadableError):
        re_encrypt(token)


def test_a_new_key_is_used_without_a_restart(data_dir: Path) -> None:
    old = encrypt("s3cret")
    key_rotation.add_key()
    new = encrypt("s3cret")
    newest = Fernet(keys_path().read_text().split()[0])
    assert newest.decrypt(new.encode()) == b"s3cret"
    assert decrypt(old) == "s3cret"


def test_a_rotation_re_encrypts_old_values_once(data_dir: Path, store: list[str], db: None) -> None:
    store += [encrypt("one"), encrypt("two")]
    key_rotation.add_key()
    store.append(encrypt("three"))
    [first] = key_rotation.re_encrypt_all()
    [second] = key_rotation.re_encrypt_all()
    assert (first.seen, first.changed, second.changed) == (3, 2, 0)
    assert key_rotation.keep_newest_key() == 1
    assert [decrypt(token) for token in store] == ["one", "two", "three"]


def test_an_undecryptable_secret_does_not_stop_the_rotation(data_dir: Path, store: list[str], db: None) -> None:
    store += [Fernet(Fernet.generate_key()).encrypt(b"lost").decode(), encrypt("kept")]
    lost = store[0]
    key_rotation.add_key()
    [count] = key_rotation.re_encrypt_all()
    assert (count.changed, count.unreadable) == (1, 1)
    assert store[0] == lost


def test_checking_all_secrets_changes_none(data_dir: Path, store: list[str], db: None) -> None:
    store.append(encrypt("one"))
    before = list(store)
    key_rotation.add_key()
    [count] = key_rotation.check_all()
    assert (count.seen, count.unreadable, store) == (1, 0, before)


def test_a_key_file_is_replaced_atomically(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encrypt("x")
    before = keys_path().read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        key_rotation.add_key()
    assert keys_path().read_text() == before
    assert [path.name for path in data_dir.iterdir()] == ["secrets.key"]


def test_longer_secrets_are_masked_first() -> None:
    assert secrets.mask("a=abc b=abcdef", ["abc", "abcdef", ""]) == f"a={secrets.MASK} b={secrets.MASK}"
