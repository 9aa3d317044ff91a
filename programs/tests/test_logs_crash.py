"""Kills rotations at every line of their code, and at random while a program writes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from programs.logs.paths import LogFile
from programs.logs.rotate import rotate

from .logs_rig import BLOCK, numbers, start_rotator, start_writer


@pytest.mark.parametrize(("where", "lines"), [("disk", "first"), ("tmpfs", "again")])
def test_a_rotation_killed_at_any_line_neither_loses_nor_duplicates_lines(
    tmp_path: Path, where: str, lines: str
) -> None:
    directory = {"disk": str(tmp_path), "tmpfs": "/dev/shm"}[where]
    command = [sys.executable, "-m", "programs.tests.logs_rig", directory, lines]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 100


def test_rotators_killed_at_random_neither_lose_nor_duplicate_lines(tmp_path: Path) -> None:
    log, chance, kills = LogFile(tmp_path, 0), random.Random(4), 0
    writer = start_writer(log, 60_000, per_write=20, pause=0.001)
    while writer.poll() is None or kills < 10:
        rotator = start_rotator(log)
        time.sleep(chance.uniform(0, 0.1))
        rotator.kill()
        rotator.communicate()
        kills += 1
        seen = numbers(log)
        assert seen == list(range(len(seen)))
    rotate(log, max_bytes=BLOCK, backups=10_000, compress=True)
    assert numbers(log) == list(range(60_000))
    assert kills >= 10 and len(log.archives()) >= 20
