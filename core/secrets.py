"""Secret values at rest: MultiFernet with keys of their own, apart from SECRET_KEY.

The keys live in `DATA_DIR/secrets.key`, one per line, newest first: the first encrypts, every one decrypts.
`manage.py rotate_keys` adds a new first line and rewrites what is stored.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from .keyfile import key_file

MASK = "••••••"


class SecretUnreadableError(Exception):
    """A stored secret that none of the present keys can open."""


def keys_path() -> Path:
    return Path(settings.DATA_DIR) / "secrets.key"


@lru_cache(maxsize=4)
def _fernet(path: Path, _changed: int) -> MultiFernet:
    return MultiFernet([Fernet(line) for line in path.read_text().split()])


def fernet() -> MultiFernet:
    """The present keys; read again when the file changes, so a rotation needs no restart."""
    path = keys_path()
    key_file(path, lambda: Fernet.generate_key().decode())
    return _fernet(path, path.stat().st_mtime_ns)


def encrypt(value: str) -> str:
    return fernet().encrypt(value.encode()).decode()


def decrypt(token: str) -> str:
    try:
        return fernet().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadableError(
            f"a stored secret cannot be opened with the keys in {keys_path()}; "
            "bring back the file that belongs to this database, or set the secret again"
        ) from error


def re_encrypt(token: str) -> str:
    """The same secret under the newest key."""
    return fernet().rotate(token.encode()).decode()


def mask(text: str, secrets: list[str]) -> str:
    """`text` with every one of `secrets` blanked, longest first so that no tail of one remains."""
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
