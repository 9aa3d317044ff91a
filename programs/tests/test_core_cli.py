"""Parsing of option values (durations, sizes, list entries), and tables."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from core.cli import tables, time_parsing
from core.cli.exit_codes import UsageError
from core.cli.tables import Cell, Column
from programs import formatting
from programs.cli import value_parsers
from programs.cli.argv import ArgumentSplitter

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ORDER = ArgumentSplitter(["--tag", "--json"], ["--shell", "--no-shell", "--dry-run"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("10m", "2026-03-01T11:50:00+00:00"),
        ("90", "2026-03-01T11:58:30+00:00"),
        ("1.5H", "2026-03-01T10:30:00+00:00"),
        ("2026-02-28T08:00:00Z", "2026-02-28T08:00:00+00:00"),
        ("2026-02-28T08:00:00+02:00", "2026-02-28T08:00:00+02:00"),
    ],
)
def test_a_time_is_a_duration_ago_or_iso(typed: str, meant: str) -> None:
    assert time_parsing.moment(typed, NOW) == datetime.fromisoformat(meant)


def test_a_time_without_a_zone_is_local() -> None:
    local = datetime(2026, 2, 28, 8, 30).astimezone()
    assert time_parsing.moment("2026-02-28T08:30", NOW) == local
    assert time_parsing.moment("08:30", local) == local


@pytest.mark.parametrize(
    ("read", "typed"),
    [
        (time_parsing.moment, "yesterday"),
        (time_parsing.moment, "11:99"),
        (time_parsing.moment, "9999999d"),
        (time_parsing.seconds, "-5"),
        (time_parsing.seconds, "nan"),
        (time_parsing.seconds, "900000000"),
        (value_parsers.size, "12 apples"),
        (value_parsers.size, "-1"),
        (value_parsers.duration, "soon"),
        (value_parsers.variable, "NOVALUE"),
        (value_parsers.stop_step, "signal:INT"),
        (value_parsers.stop_step, "5"),
        (value_parsers.probe, "http"),
        (value_parsers.probe, "http,often:x"),
        (value_parsers.probe, "http,period=soon:x"),
    ],
)
def test_an_invalid_value_is_quoted_in_the_error(read: Callable[[str], Any], typed: str) -> None:
    with pytest.raises(ArgumentTypeError, match=typed.split(",")[-1].split(":")[0]):
        read(typed)


@pytest.mark.parametrize(
    ("typed", "size"), [("65536", 65536), ("50M", 52428800), ("1.5 GB", 1610612736), ("64KiB", 65536)]
)
def test_sizes_are_bytes_or_have_a_unit(typed: str, size: int) -> None:
    assert value_parsers.size(typed) == size


def test_list_entries_are_one_argument_each() -> None:
    assert value_parsers.variable("A=b=c") == {"name": "A", "value": "b=c"}
    assert value_parsers.stop_step("http:http://127.0.0.1:8/stop:2.5") == {
        "step": "http:http://127.0.0.1:8/stop",
        "seconds": 2.5,
    }
    assert value_parsers.dependency("db:healthy") == {"program": "db", "condition": "healthy"}
    assert value_parsers.dependency("my:db") == {"program": "my:db", "condition": "started"}
    assert value_parsers.probe("http,readiness,period=5,failures=2:http://[::1]:80/") == {
        "kind": "http",
        "purpose": "readiness",
        "period": 5,
        "failures": 2,
        "target": "http://[::1]:80/",
    }


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("web python -m x --tag", None),
        ("--tag a web python -m x", "--tag a -- web python -m x"),
        ("web --tag a -- python --tag b -- c", "--tag a -- web python --tag b -- c"),
        ("--shell web --tag=a python -m x", "--shell --tag=a -- web python -m x"),
        ("web python -m x", "-- web python -m x"),
        ("--json -", "--json -"),
        ("web --json -", "--json - -- web"),
        ("web --tag", "--tag -- web"),
        ("", ""),
    ],
)
def test_options_are_separated_from_the_arguments_of_the_command(typed: str, read: str | None) -> None:
    if read is None:
        with pytest.raises(UsageError, match="could belong to this command or to 'python'"):
            ORDER.arranged(typed.split())
    else:
        assert ORDER.arranged(typed.split()) == read.split()


def test_options_may_follow_a_quoted_command() -> None:
    assert ORDER.arranged(["web", "sleep 5", "--tag", "a", "--shell"]) == [
        *("--tag", "a", "--shell", "--", "web", "sleep 5")
    ]


def test_columns_stay_aligned_for_wide_scripts_and_hostile_names() -> None:
    rows = [[Cell("게임"), Cell("1")], [Cell("a\x1b[31m\nb"), Cell("22")]]
    head, first, second = tables.table([Column("name"), Column("n", is_number=True)], rows)
    assert first == "게임       1"
    assert "\x1b" not in second
    assert tables.width(first) == tables.width(second) == tables.width(head)


def test_only_the_last_column_is_cut_in_a_narrow_window() -> None:
    row = [Cell("a-rather-long-name"), Cell("어떤 이유로 멈췄습니다 and more")]
    _head, line = tables.table([Column("name"), Column("reason")], [row], room=32)
    assert line.startswith("a-rather-long-name  ")
    assert line.endswith("…")
    assert tables.width(line) <= 32


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (725, "12m 5s"), (1800, "30m"), (3600, "1h"), (273_600, "3d 4h")],
)
def test_durations_are_shown_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert formatting.duration_text(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1536, "1.5 KB"), (104_857_600, "100 MB")])
def test_bytes_are_shown_in_a_fitting_unit(count: int, text: str) -> None:
    assert formatting.bytes_text(count) == text
