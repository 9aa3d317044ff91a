"""The time zone of this machine, in which cron expressions and times typed at a terminal are read.

Everything stored and sent is UTC, and so is Django's TIME_ZONE. But Django also exports TIME_ZONE as TZ: without
`restore_tz` cron expressions would be read in UTC and programs would run in it.
"""

from __future__ import annotations

import os
import time
from datetime import tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from django.conf import settings

LOCALTIME = Path("/etc/localtime")


def restore_tz() -> None:
    """Resets TZ to its value before Django read the settings. Call once after `django.setup()`."""
    if settings.MACHINE_TZ is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = settings.MACHINE_TZ
    if hasattr(time, "tzset"):
        time.tzset()


@lru_cache
def zone(name: str) -> tzinfo | None:
    """The zone for a value of TZ. None (use today's offset) without zone rules: for `CET-1CEST`, or on Windows."""
    try:
        if name:
            return ZoneInfo(name)
        with LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError, KeyError):
        return None
