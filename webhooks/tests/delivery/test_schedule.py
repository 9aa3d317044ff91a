from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from webhooks import defaults
from webhooks.delivery import rate_limit, response_policy, schedule
from webhooks.delivery.response_policy import Verdict

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_the_default_schedule_makes_ten_tries_in_41_h_37_min_35_s() -> None:
    gaps = [schedule.gap(defaults.RETRY_SCHEDULE, tries, dice=0) for tries in range(1, 11)]
    assert gaps[-1] is None
    assert sum(filter(None, gaps)) == timedelta(hours=41, minutes=37, seconds=35).total_seconds()


@pytest.mark.parametrize("dice", [0, 0.5, 1])
def test_jitter_makes_a_gap_up_to_a_tenth_longer_and_never_shorter(dice: float) -> None:
    assert schedule.gap([100], 1, dice=dice) == pytest.approx(100 + 10 * dice)


def test_a_longer_wait_that_was_asked_for_counts_and_a_shorter_one_does_not() -> None:
    assert schedule.gap([100], 1, dice=0, retry_after=300) == 300
    assert schedule.gap([100], 1, dice=0, retry_after=3) == 100


def test_an_empty_schedule_means_one_try() -> None:
    assert schedule.gap([], 1, dice=0) is None


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
        ("1.5", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(header: str, seconds: float | None) -> None:
    assert schedule.retry_after(header, NOW) == seconds


def test_an_event_expires_after_its_age_and_without_one_never() -> None:
    assert schedule.is_expired(NOW - timedelta(seconds=61), 60, NOW)
    assert not schedule.is_expired(NOW - timedelta(seconds=59), 60, NOW)
    assert not schedule.is_expired(NOW - timedelta(days=999), None, NOW)


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, {}, Verdict.DELIVERED),
        (299, {}, Verdict.DELIVERED),
        (302, {"location": "x"}, Verdict.RETRY),
        (400, {}, Verdict.RETRY),
        (404, {}, Verdict.RETRY),
        (408, {}, Verdict.RETRY),
        (410, {}, Verdict.GONE),
        (429, {}, Verdict.RETRY),
        (429, {"retry-after": "5"}, Verdict.THROTTLED),
        (503, {"retry-after": "5"}, Verdict.THROTTLED),
        (500, {"retry-after": "5"}, Verdict.RETRY),
        (500, {"webhook-delivery": "abort-message"}, Verdict.REFUSED),
        (200, {"webhook-delivery": "abort-message"}, Verdict.DELIVERED),
        (999, {}, Verdict.RETRY),
    ],
)
def test_each_answer_has_its_consequence(status: int, headers: dict[str, str], verdict: Verdict) -> None:
    assert response_policy.of_answer(status, headers) is verdict


def test_a_format_may_know_an_answer_as_final() -> None:
    assert response_policy.of_answer(404, {}, permanent=True) is Verdict.REFUSED
    assert response_policy.of_answer(204, {}, permanent=True) is Verdict.DELIVERED


def simulate(rate: float, seconds: float) -> list[float]:
    """When messages go out if as many as allowed are sent every 10 ms."""
    paced, sent = None, []
    for step in range(int(seconds * 100)):
        now = NOW + timedelta(seconds=step / 100)
        count = rate_limit.allowed(paced, rate, now)
        paced = rate_limit.after(paced, rate, now, count)
        sent += [step / 100] * count
    return sent


@pytest.mark.parametrize("rate", [1, 10, 50, 100])
def test_no_more_go_out_than_the_rate_and_a_small_burst(rate: float) -> None:
    sent = simulate(rate, 5)
    assert len(sent) == pytest.approx(5 * rate, abs=max(1, rate * 0.2) + 1)
    busiest = max(sum(start <= at < start + 1 for at in sent) for start in sent)
    assert busiest <= rate + max(1, rate * 0.2) + 1


def test_a_slow_endpoint_gets_one_message_and_then_waits_its_time() -> None:
    assert rate_limit.allowed(None, 0.01, NOW) == 1
    paced = rate_limit.after(None, 0.01, NOW, 1)
    assert rate_limit.allowed(paced, 0.01, NOW + timedelta(seconds=99)) == 0
    assert rate_limit.ready_at(paced, 0.01, NOW) == NOW + timedelta(seconds=100)
    assert rate_limit.allowed(paced, 0.01, NOW + timedelta(seconds=100)) == 1


def test_at_the_moment_it_names_a_message_is_allowed() -> None:
    paced = None
    for rate in (3, 7, 9.7, 333):
        for _ in range(200):
            now = rate_limit.ready_at(paced, rate, NOW)
            assert rate_limit.allowed(paced, rate, now) >= 1
            paced = rate_limit.after(paced, rate, now, 1)


def test_a_bucket_fuller_than_it_can_be_is_from_before_the_clock_was_set_back() -> None:
    paced = rate_limit.after(None, 10, NOW, 2)
    earlier = NOW - timedelta(hours=1)
    assert rate_limit.allowed(paced, 10, NOW) == 0
    assert (rate_limit.ready_at(paced, 10, earlier), rate_limit.allowed(paced, 10, earlier)) == (earlier, 2)
    assert rate_limit.after(paced, 10, earlier, 1) == earlier + timedelta(seconds=0.1)
