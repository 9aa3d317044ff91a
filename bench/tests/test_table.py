from __future__ import annotations

from dataclasses import asdict

from bench.measurements import Plan
from bench.table import render


def rows(ours: dict[str, float | None], peer: dict[str, float | None]) -> dict[str, list[str]]:
    text = render({"ours": ours, "peer": peer}, {"ours": "ours", "peer": "Peer 1"}, asdict(Plan()))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in cells}


def test_a_peer_is_shown_as_a_multiple_of_ours() -> None:
    shown = rows({"start_seconds": 0.25}, {"start_seconds": 1.0})

    assert shown["start 100 programs"] == ["0.25 s", "1.00 s (x4)"]


def test_a_missing_figure_is_a_dash() -> None:
    assert rows({"usage_median_ms": 2.0}, {})["status of all programs with CPU and memory"] == ["2.00 ms", "-"]


def test_nothing_is_a_multiple_of_zero() -> None:
    assert rows({"idle_percent": 0.0}, {"idle_percent": 0.5})["idle CPU of one core, supervising processes"] == [
        "0.00 %",
        "0.50 %",
    ]


def test_all_lines_have_the_same_width() -> None:
    text = render({"ours": {"stack_rss_mb": 12_345.6}}, {"ours": "ours"}, asdict(Plan()))

    assert len({len(line) for line in text.splitlines()}) == 1
