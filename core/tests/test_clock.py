from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from core.timeformat import local_time

SHOW = """
import json, os, sys, time
sys.argv = ["manage.py", "help"]
sys.stdout, out = open(os.devnull, "w"), sys.stdout
import manage
manage.main()
print(json.dumps([os.environ.get("TZ"), time.localtime(1795670410).tm_hour]), file=out)
"""


def inside(folder: Path, **environment: str) -> tuple[str | None, int]:
    """TZ and the local hour at 05:20 UTC in a process of the monitor with this environment."""
    base = {name: value for name, value in os.environ.items() if name != "TZ"}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=settings.BASE_DIR,
        env={**base, "DATA_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    zone, hour = json.loads(done.stdout.splitlines()[-1])
    return zone, hour


@pytest.mark.parametrize(("zone", "hour"), [("Asia/Seoul", 14), ("CET-1CEST", 6)])
def test_the_time_zone_of_the_machine_is_restored_after_the_settings(tmp_path: Path, zone: str, hour: int) -> None:
    assert inside(tmp_path, TZ=zone) == (zone, hour)


def test_without_tz_programs_inherit_none(tmp_path: Path) -> None:
    assert inside(tmp_path)[0] is None


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Europe/Berlin", "2026-11-26 06:20 CET"),
        (":Asia/Seoul", "2026-11-26 14:20 KST"),
        ("UTC", "2026-11-26 05:20 UTC"),
    ],
)
def test_a_timestamp_is_converted_to_local_time(monkeypatch: pytest.MonkeyPatch, zone: str, shown: str) -> None:
    monkeypatch.setenv("TZ", zone)
    assert f"{local_time(datetime(2026, 11, 26, 5, 20, tzinfo=UTC)):%Y-%m-%d %H:%M %Z}" == shown


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../../etc/passwd", "/etc/localtime", "CET-1CEST"])
def test_a_zone_without_rules_gives_the_same_instant(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    moment = datetime(2026, 11, 26, 5, 20, tzinfo=UTC)
    assert local_time(moment) == moment
