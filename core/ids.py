"""Identifiers that sort by creation time."""

from __future__ import annotations

import secrets
import time


def time_ordered_id(prefix: str) -> str:
    """`<prefix>_` and the 32 hex digits of a UUID version 7 (RFC 9562)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | secrets.randbits(80)
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return f"{prefix}_{value:032x}"
