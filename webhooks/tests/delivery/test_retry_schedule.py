from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from webhooks import models
from webhooks.delivery import retry_schedule

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_the_default_schedule_makes_ten_attempts_in_41_h_37_min_35_s() -> None:
    gaps = [retry_schedule.retry_delay(models.DEFAULT_RETRY_SCHEDULE, tries, jitter=0) for tries in range(1, 11)]
    assert gaps[-1] is None
    assert sum(filter(None, gaps)) == timedelta(hours=41, minutes=37, seconds=35).total_seconds()


@pytest.mark.parametrize("jitter", [0, 0.5, 1])
def test_jitter_makes_a_delay_up_to_a_tenth_longer_and_never_shorter(jitter: float) -> None:
    assert retry_schedule.retry_delay([100], 1, jitter=jitter) == pytest.approx(100 + 10 * jitter)


def test_retry_after_can_only_lengthen_the_delay() -> None:
    assert retry_schedule.retry_delay([100], 1, jitter=0, retry_after=300) == 300
    assert retry_schedule.retry_delay([100], 1, jitter=0, retry_after=3) == 100


def test_an_empty_schedule_means_one_attempt() -> None:
    assert retry_schedule.retry_delay([], 1, jitter=0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("999999999999999999999", 86_400),
        ("Mon, 23 Nov 2026 12:02:00 GMT", 120),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 1),
        ("Mon, 23 Nov 2026 12:02:00 -0000", 120),
        ("soon", None),
        ("-5", None),
        ("3.5", 3.5),
        ("0.25", 1),
        ("120.", 120),
        (" 7 ", 7),
        ("7, 30", 30),
        ("30, 7.5", 30),
        ("Mon, 23 Nov 2026 12:02:00 GMT, 7", 120),
        ("Monday, 23-Nov-26 12:02:00 GMT", 120),
        ("Mon Nov 23 12:02:00 2026", 120),
        ("1e3", None),
        ("inf", None),
        ("1.2.3", None),
        ("7 seconds", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_limits(header: str, seconds: float | None) -> None:
    assert retry_schedule.parse_retry_after(header, NOW) == seconds


def test_an_event_expires_after_the_maximum_age_and_never_without_one() -> None:
    assert retry_schedule.is_expired(NOW - timedelta(seconds=61), 60, NOW)
    assert not retry_schedule.is_expired(NOW - timedelta(seconds=59), 60, NOW)
    assert not retry_schedule.is_expired(NOW - timedelta(days=999), None, NOW)
