"""Signatures of Standard Webhooks 1.0: they prove to the receiver that we sent these bytes, and when.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from functools import lru_cache

PREFIX = "whsec_"
SECRET_BYTES = 32
MIN_BYTES, MAX_BYTES = 24, 64


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check_secret(secret: str) -> None:
    """Raises ValueError unless it is `whsec_` and base64 of 24 to 64 bytes."""
    try:
        length = len(_key(secret))
    except binascii.Error as error:
        raise ValueError("A secret is whsec_ followed by base64.") from error
    if not secret.startswith(PREFIX) or not MIN_BYTES <= length <= MAX_BYTES:
        raise ValueError(f"A secret is whsec_ followed by base64 of {MIN_BYTES} to {MAX_BYTES} bytes.")


def signature_headers(message_id: str, timestamp: int, body: bytes, keys: Iterable[str]) -> dict[str, str]:
    """The three headers. `timestamp`: start of this attempt in unix seconds. One signature for each secret."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_sign(message_id, timestamp, body, secret) for secret in keys),
    }


def _sign(message_id: str, timestamp: int, body: bytes, secret: str) -> str:
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


# Cached: the same few secrets sign every message.
@lru_cache(maxsize=256)
def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
