"""The clock on the wall of this machine, which timetables and people at a terminal mean.

Everything stored and sent is UTC, and so is Django's TIME_ZONE. But Django also writes that into TZ for the whole
process and all it starts: cron expressions would be read in UTC, and programs run in it.
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


def keep() -> None:
    """Gives TZ back the value it had before Django read its settings. To be called once they are read."""
    if settings.MACHINE_TZ is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = settings.MACHINE_TZ
    if hasattr(time, "tzset"):
        time.tzset()


@lru_cache
def zone(name: str) -> tzinfo | None:
    """By the value of TZ. None, today's offset, where no rules are to be had: `CET-1CEST`, Windows."""
    try:
        if name:
            return ZoneInfo(name)
        with LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError, KeyError):
        return None
