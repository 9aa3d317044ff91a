"""What an endpoint has when nobody said otherwise."""

from __future__ import annotations

# Seconds between the tries: dense at first because alerts age, ten tries within 41 h 37 min 35 s.
RETRY_SCHEDULE = (5, 30, 120, 300, 1_800, 7_200, 18_000, 36_000, 86_400)
MESSAGE_MAX_AGE_SECONDS = 86_400  # a chat message about yesterday helps nobody; signed deliveries never expire


def retry_schedule() -> list[int]:
    return list(RETRY_SCHEDULE)


def events() -> list[str]:
    return ["program.*"]
