"""Encryption of stored secrets: MultiFernet with keys apart from SECRET_KEY.

The keys are in `DATA_DIR/secrets.key`, one per line, newest first: the first encrypts, all decrypt.
`manage.py rotate_keys` adds a new first line and rewrites what is stored.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from .keyfile import key_file
from .masking import MASK as MASK

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

# `cryptography` is imported where it is used: it takes 5 MB, and some processes never decrypt a secret.


class SecretUnreadableError(Exception):
    """None of the present keys decrypts a stored secret."""


def keys_path() -> Path:
    return Path(settings.DATA_DIR) / "secrets.key"


def keys() -> list[Fernet]:
    """The keys, newest first. Reads the file again when it changed, so a rotation needs no restart.

    Raises SecretUnreadableError when the file has no valid keys, PermissionError when other users can read it.
    """
    from cryptography.fernet import Fernet

    path = keys_path()
    key_file(path, lambda: Fernet.generate_key().decode())
    found = path.stat()
    return _keys(path, (found.st_mtime_ns, found.st_ino, found.st_size))


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
