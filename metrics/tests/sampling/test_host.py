"""Host usage, compared with psutil."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from metrics.models import HostUsage
from metrics.sampling.host import HostMeter, merge_host_rows
from metrics.tests.storage.test_recorder import host_row


def test_the_first_read_returns_none() -> None:
    assert HostMeter().read() is None


def test_a_row_covers_the_time_since_the_previous_read(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path
    meter = HostMeter()
    meter.read()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    row = meter.read()
    assert row is not None
    assert len(row.cores) == os.cpu_count()
    assert row.cpu_percent == pytest.approx(sum(row.cores) / len(row.cores), abs=0.1)
    assert 50 / len(row.cores) < row.cpu_percent <= 100
    assert 0 < row.memory_used < row.memory_total == psutil.virtual_memory().total
    assert row.disk_total == psutil.disk_usage(str(tmp_path)).total


def test_loopback_traffic_is_not_counted() -> None:
    meter = HostMeter()
    meter.read()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(2000):
            sender.sendto(b"x" * 5000, ("127.0.0.1", 9))
    row = meter.read()
    assert row is not None
    assert row.network_sent_bytes < 5_000_000


def test_averages_are_weighted_by_the_points_in_each_row() -> None:
    three, one = host_row(20.0), host_row(60.0)
    three.count, three.load_1, one.load_1 = 3, None, 2.0
    merged = merge_host_rows([three, one])
    assert merged is not None
    assert (merged.count, merged.cpu_percent, merged.cpu_percent_max, merged.cores) == (4, 30.0, 60.0, [30.0])
    assert (merged.load_1, merged.disk_read_bytes) == (2.0, 2)


def test_rows_with_different_core_counts_keep_the_common_cores() -> None:
    one, two = host_row(10.0), host_row(20.0)
    two.cores = [20.0, 80.0]
    merged = merge_host_rows([one, two])
    assert merged is not None
    assert merged.cores == [15.0]


def test_merging_no_rows_gives_none() -> None:
    assert merge_host_rows([]) is None


@pytest.mark.django_db
def test_every_column_is_filled(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path
    meter = HostMeter()
    meter.read()
    row = meter.read()
    assert row is not None
    names = {field.name for field in HostUsage._meta.fields} - {"pk", "host", "timestamp"}
    assert all(getattr(row, name) is not None for name in names)
