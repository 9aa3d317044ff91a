"""Encryption of stored secrets: MultiFernet with keys apart from SECRET_KEY.

The keys are in `DATA_DIR/secrets.key`, one per line, newest first: the first encrypts, all decrypt.
`manage.py rotate_keys` adds a new first line and rewrites what is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from .keyfile import KeyFileError, check_private, create
from .masking import MASK as MASK

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

# `cryptography` is imported where it is used: it takes 5 MB, and some processes never decrypt a secret.


RESTORE = "restore the file that belongs to this database from a backup, or copy it from another host"
_checks: list[Callable[[], bool]] = []


class SecretUnreadableError(Exception):
    """The key file cannot be used, or none of its keys decrypts a stored secret."""


def keys_path() -> Path:
    return Path(settings.DATA_DIR) / "secrets.key"


def on_missing_keys(has_stored_secrets: Callable[[], bool]) -> None:
    """Registers a check that says whether the database has secrets, so that new keys would not decrypt them."""
    if has_stored_secrets not in _checks:
        _checks.append(has_stored_secrets)


def keys() -> list[Fernet]:
    """The keys, newest first. Reads the file again when it changed, so a rotation needs no restart.

    Raises SecretUnreadableError when the file is missing, damaged or readable by other users.
    """
    path = keys_path()
    try:
        check_private(path)
        found = path.stat()
        return _keys(path, (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size))
    except KeyFileError as error:
        raise SecretUnreadableError(str(error)) from error
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise SecretUnreadableError(f"{path} {reason}; {RESTORE}") from error


def create_missing_keys(*, lose_secrets: bool = False) -> None:
    """Creates the file at the first start. Raises SecretUnreadableError if secrets are stored already, OSError."""
    from cryptography.fernet import Fernet

    path = keys_path()
    if path.exists():
        return
    # A new key would hide the loss: new secrets would need it, and the old ones the file that is missing.
    if not lose_secrets and any(has_stored_secrets() for has_stored_secrets in _checks):
        raise SecretUnreadableError(f"{path} is missing, and the database has secrets that need it; {RESTORE}")
    create(path, Fernet.generate_key().decode())


def check_key_mode() -> None:
    """Raises KeyFileError when other users can read the file. Needs neither the database nor the keys."""
    if keys_path().exists():
        check_private(keys_path())


@lru_cache(maxsize=4)
def _keys(path: Path, _version: tuple[int, ...]) -> list[Fernet]:
    try:
        return parse_keys(path.read_text())
    except ValueError as error:
        raise SecretUnreadableError(f"{path} has no valid keys; restore it from a backup") from error


def parse_keys(text: str) -> list[Fernet]:
    """Raises ValueError unless `text` is one or more keys."""
    from cryptography.fernet import Fernet

    found = [Fernet(line) for line in text.split()]
    if not found:
        raise ValueError("no keys")
    return found


def fernet() -> MultiFernet:
    from cryptography.fernet import MultiFernet

    return MultiFernet(keys())


def encrypt(value: str) -> str:
    """Creates the keys if there are neither keys nor secrets. Raises SecretUnreadableError."""
    create_missing_keys()
    return fernet().encrypt(value.encode()).decode()


def decrypt(token: str) -> str:
    from cryptography.fernet import InvalidToken

    try:
        return fernet().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadableError(
            f"a stored secret cannot be decrypted with the keys in {keys_path()}; "
            "restore the file that belongs to this database, or set the secret again"
        ) from error


def re_encrypt(token: str) -> str:
    """Encrypts with the newest key; returns `token` itself when it is already. Raises SecretUnreadableError."""
    newest = keys()[0]
    from cryptography.fernet import InvalidToken

    try:
        newest.decrypt(token.encode())
    except InvalidToken:
        return newest.encrypt(decrypt(token).encode()).decode()
    return token


def mask(text: str, secrets: list[str]) -> str:
    # Longest first: a secret that contains another would otherwise leave its rest in clear.
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
