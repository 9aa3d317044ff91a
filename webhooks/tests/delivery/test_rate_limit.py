from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from webhooks.delivery import rate_limit

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def simulate(rate: float, seconds: float) -> list[float]:
    """When messages go out if as many as allowed are sent every 10 ms."""
    paced, sent = None, []
    for step in range(int(seconds * 100)):
        now = NOW + timedelta(seconds=step / 100)
        count = rate_limit.available(paced, rate, now)
        paced = rate_limit.consume(paced, rate, now, count)
        sent += [step / 100] * count
    return sent


@pytest.mark.parametrize("rate", [1, 10, 50, 100])
def test_no_more_than_the_rate_and_a_small_burst_is_sent(rate: float) -> None:
    sent = simulate(rate, 5)
    assert len(sent) == pytest.approx(5 * rate, abs=max(1, rate * 0.2) + 1)
    busiest = max(sum(start <= at < start + 1 for at in sent) for start in sent)
    assert busiest <= rate + max(1, rate * 0.2) + 1


def test_a_low_rate_allows_one_message_and_then_waits() -> None:
    assert rate_limit.available(None, 0.01, NOW) == 1
    paced = rate_limit.consume(None, 0.01, NOW, 1)
    assert rate_limit.available(paced, 0.01, NOW + timedelta(seconds=99)) == 0
    assert rate_limit.ready_at(paced, 0.01, NOW) == NOW + timedelta(seconds=100)
    assert rate_limit.available(paced, 0.01, NOW + timedelta(seconds=100)) == 1


def test_a_message_is_available_at_the_announced_time() -> None:
    paced = None
    for rate in (3, 7, 9.7, 333):
        for _ in range(200):
            now = rate_limit.ready_at(paced, rate, NOW)
            assert rate_limit.available(paced, rate, now) >= 1
            paced = rate_limit.consume(paced, rate, now, 1)


def test_an_impossibly_full_bucket_is_emptied_after_the_clock_was_set_back() -> None:
    paced = rate_limit.consume(None, 10, NOW, 2)
    earlier = NOW - timedelta(hours=1)
    assert rate_limit.available(paced, 10, NOW) == 0
    assert (rate_limit.ready_at(paced, 10, earlier), rate_limit.available(paced, 10, earlier)) == (earlier, 2)
    assert rate_limit.consume(paced, 10, earlier, 1) == earlier + timedelta(seconds=0.1)
