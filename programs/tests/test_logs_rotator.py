"""The agent's log service: one round over all logs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from programs.logs import rotate as rotate_module
from programs.logs.index import TimeIndex
from programs.logs.paths import LogFile
from programs.logs.rotate import LogLimits, LogRotator

from .logs_rig import BLOCK, append, numbered


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path, 0)


def run_rotator(log: LogFile, times: int = 1) -> None:
    service = LogRotator(list)
    for _ in range(times):
        service.rotate_all([LogLimits(log, BLOCK, 9, False)], time.time())


def test_a_log_above_its_limit_is_rotated_and_indexed(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    run_rotator(log)
    assert log.archives()
    assert TimeIndex.load(log).last_offset == len(numbered(range(3000)))


def test_a_log_below_its_limit_is_not_rotated(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("rotate was called")

    monkeypatch.setattr(rotate_module, "rotate", refuse)
    append(log, numbered(range(10)))
    run_rotator(log, times=3)


def test_a_log_is_rotated_although_its_index_cannot_be_written(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    log.time_index.mkdir()
    run_rotator(log)
    assert log.archives()


def test_a_program_without_a_log_causes_no_warning(log: LogFile, caplog: pytest.LogCaptureFixture) -> None:
    run_rotator(log, times=2)
    assert caplog.records == []
