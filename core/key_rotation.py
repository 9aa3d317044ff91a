"""Goes over every stored secret, wherever it lies: to encrypt it anew, or to see whether it can be opened.

Each app that stores secrets registers one function. It hands every ciphertext it has to the visitor and saves
what comes back different; the transaction around it is made here.
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
    """Makes the secrets of `store` part of every rotation. `name` says in plain words what they are."""
    _stores[name] = store


@dataclass
class Tally:
    """What a walk over one store found."""

    name: str
    seen: int = 0
    changed: int = 0
    unreadable: int = 0

    def visitor(self, open_secret: Visit) -> Visit:
        """Counts, and leaves what cannot be opened as it is: one lost secret must not keep the others old."""

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


def walk(open_secret: Visit, *, writes: bool = False) -> list[Tally]:
    """Every registered store in a transaction of its own. One that writes begins with the counter, as all do: who
    locks rows before would wait in a circle with somebody who has the counter and wants a row."""
    tallies = []
    for name, store in sorted(_stores.items()):
        tally = Tally(name)
        with transaction.atomic():
            if writes:
                Sequence.advance()
            store(tally.visitor(open_secret))
        tallies.append(tally)
    return tallies


def re_encrypt_all() -> list[Tally]:
    """Puts every secret under the newest key. May be stopped anywhere and run again."""
    return walk(re_encrypt, writes=True)


def check_all() -> list[Tally]:
    """Tries to open every secret and changes none."""

    def unchanged(token: str) -> str:
        decrypt(token)
        return token

    return walk(unchanged)


def add_key() -> int:
    """A new first key; the old ones go on opening. Returns how many there are now."""
    present = key_lines()
    from cryptography.fernet import Fernet

    replace_private(keys_path(), "\n".join([Fernet.generate_key().decode(), *present]))
    return len(present) + 1


def keep_newest_key() -> int:
    """Forgets all keys but the first. Returns how many went. Only after every secret is under the first."""
    newest, *old = key_lines()
    replace_private(keys_path(), newest)
    return len(old)


def key_lines() -> list[str]:
    keys()  # raises for a file that is damaged or open to others
    return keys_path().read_text().split()
