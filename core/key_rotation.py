"""Re-encrypts or checks every stored secret.

Each app that stores secrets registers one function, which passes each ciphertext to a visitor and saves what comes
back changed. The transaction is opened here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from .keyfile import replace_private
from .models import Sequence
from .secrets import SecretUnreadableError, decrypt, keys, keys_path, re_encrypt

Visit = Callable[[str], str]
Store = Callable[[Visit], None]
_stores: dict[str, Store] = {}


def register_rotation(name: str, store: Store) -> None:
    """`name` is shown to users, such as "webhook secrets"."""
    _stores[name] = store


@dataclass
class RotationCount:
    name: str
    seen: int = 0
    changed: int = 0
    unreadable: int = 0

    def visitor(self, open_secret: Visit) -> Visit:
        """Counts the secrets. Leaves unreadable ones unchanged, so that one of them does not stop the rotation."""

        def visit(token: str) -> str:
            self.seen += 1
            try:
                new = open_secret(token)
            except SecretUnreadableError:
                self.unreadable += 1
                return token
            self.changed += new != token
            return new

        return visit


def walk(open_secret: Visit, *, writes: bool = False) -> list[RotationCount]:
    """Runs `open_secret` over every registered store, one transaction each."""
    counts = []
    for name, store in sorted(_stores.items()):
        count = RotationCount(name)
        with transaction.atomic():
            if writes:
                # Every writer takes the revision counter before rows: the other order can deadlock on PostgreSQL.
                Sequence.advance()
            store(count.visitor(open_secret))
        counts.append(count)
    return counts


def re_encrypt_all() -> list[RotationCount]:
    """Encrypts every secret with the newest key. Safe to interrupt and repeat."""
    return walk(re_encrypt, writes=True)


def check_all() -> list[RotationCount]:
    """Tries to decrypt every secret; changes none."""

    def unchanged(token: str) -> str:
        decrypt(token)
        return token

    return walk(unchanged)


def add_key() -> int:
    """Adds a new first key; the old ones still decrypt. Returns the number of keys."""
    present = key_lines()
    from cryptography.fernet import Fernet

    replace_private(keys_path(), "\n".join([Fernet.generate_key().decode(), *present]))
    return len(present) + 1


def keep_newest_key() -> int:
    """Removes all keys but the first and returns how many. Call it only after `re_encrypt_all`."""
    newest, *old = key_lines()
    replace_private(keys_path(), newest)
    return len(old)


def key_lines() -> list[str]:
    keys()  # raises when the file is damaged or readable by other users
    return keys_path().read_text().split()
