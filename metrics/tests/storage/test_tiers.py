"""Segments: which tiers to read for a range, so that every second counts exactly once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from metrics.models import OpenPeriod
from metrics.storage import tiers
from metrics.storage.tiers import DAY, FOREVER, HOUR, MINUTE, RAW, TEN_MINUTES, TIERS, TierSegment
from programs.hosts import this_host

MIDNIGHT = 20_000 * 86_400
EVERYTHING = dict.fromkeys(TIERS, FOREVER)


def test_the_row_width_of_a_tier_is_the_period_of_the_finer_one() -> None:
    for fine, coarse in tiers.COARSER.items():
        assert fine.period_seconds == coarse.seconds


def test_periods_cover_a_range_from_its_first_to_its_last_second() -> None:
    assert list(RAW.periods(119, 241)) == [60, 120, 180, 240]
    assert list(RAW.periods(120, 240)) == [120, 180]
    assert list(HOUR.periods(MIDNIGHT + 5, MIDNIGHT + 6)) == [MIDNIGHT]


def test_a_range_of_whole_buckets_is_read_from_one_tier() -> None:
    end = MIDNIGHT + 7 * 86_400
    assert tiers.segments(MIDNIGHT, end, HOUR, EVERYTHING, end) == [TierSegment(HOUR, MIDNIGHT, end)]


def test_incomplete_buckets_at_the_edges_are_read_from_finer_tiers() -> None:
    start, end = MIDNIGHT - 3600 - 600, MIDNIGHT + 86_400 + 60
    assert tiers.segments(start, end, DAY, EVERYTHING, end) == [
        TierSegment(TEN_MINUTES, start, start + 600),
        TierSegment(HOUR, MIDNIGHT - 3600, MIDNIGHT),
        TierSegment(DAY, MIDNIGHT, MIDNIGHT + 86_400),
        TierSegment(MINUTE, MIDNIGHT + 86_400, end),
    ]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (59, 61), (17, 86_400 * 3 + 5), (3599, 7200), (86_399, 86_401)]
)
def test_segments_join_without_gap_or_overlap(tier: tiers.Tier, start: int, end: int) -> None:
    found = tiers.segments(MIDNIGHT + start, MIDNIGHT + end, tier, EVERYTHING, MIDNIGHT + start + 60)
    assert (found[0].start, found[-1].end) == (MIDNIGHT + start, MIDNIGHT + end)
    assert all(left.end == right.start for left, right in pairwise(found))
    assert all(s.start % s.tier.seconds == s.end % s.tier.seconds == 0 for s in found if s.tier is not RAW)


def test_buckets_not_rolled_up_yet_are_read_from_finer_tiers() -> None:
    now = MIDNIGHT + 4 * 3600 + 25 * 60 + 30
    marks = [("raw", now - 30), ("minute", now - 330), ("ten_minutes", now - 1530), ("hour", MIDNIGHT)]
    complete = tiers.complete_until(marks)
    assert tiers.segments(MIDNIGHT, now, HOUR, complete, now) == [
        TierSegment(HOUR, MIDNIGHT, MIDNIGHT + 4 * 3600),
        TierSegment(TEN_MINUTES, now - 1530, now - 330),
        TierSegment(MINUTE, now - 330, now - 30),
        TierSegment(RAW, now - 30, now),
    ]


def test_a_start_older_than_the_finer_tier_takes_the_whole_first_bucket(settings: Any) -> None:
    settings.MINUTE_DAYS, settings.RAW_HOURS = 2, 1
    start, end = MIDNIGHT + 100, MIDNIGHT + 86_400 * 30
    assert tiers.segments(start, end, HOUR, EVERYTHING, end)[0] == TierSegment(HOUR, MIDNIGHT, end)


def test_an_empty_range_has_no_segments() -> None:
    assert tiers.segments(MIDNIGHT, MIDNIGHT, DAY, EVERYTHING, MIDNIGHT) == []


@pytest.mark.django_db
def test_a_tier_is_complete_up_to_the_oldest_open_period() -> None:
    host = this_host()
    assert tiers.complete_until()[DAY] == FOREVER
    OpenPeriod.objects.create(host=host, tier="minute", period=MIDNIGHT + 5400)
    OpenPeriod.objects.create(host=host, tier="raw", period=MIDNIGHT + 6000)
    complete = tiers.complete_until()
    assert (complete[MINUTE], complete[TEN_MINUTES]) == (MIDNIGHT + 6000, MIDNIGHT + 5400)
    assert (complete[HOUR], complete[DAY]) == (MIDNIGHT + 3600, MIDNIGHT)
