"""The check of `secrets.key` that each process makes when it starts, also on a host without `serve`."""

from __future__ import annotations

from django.core.management.base import CommandError

from core.keyfile import KeyFileError
from core.secrets import check_key_mode


def refuse_readable_keys() -> None:
    """Raises CommandError. A missing file is left to `prepare`, which can look into the database."""
    try:
        check_key_mode()
    except (KeyFileError, OSError) as error:
        raise CommandError(f"Cannot use the encryption keys: {error}.") from error
