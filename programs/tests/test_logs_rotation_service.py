"""What the agent does to every log in every tick."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from programs.logs import rotation_service
from programs.logs.index import Notes
from programs.logs.paths import LogFile
from programs.logs.rotation_service import Kept, LogKeeper

from .logs_rig import BLOCK, append, numbered


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path, 0)


def keep(log: LogFile, times: int = 1) -> None:
    service = LogKeeper(list)
    for _ in range(times):
        service.keep([Kept(log, BLOCK, 9, False)], time.time())


def test_a_log_that_outgrew_its_limit_is_rotated_and_its_growth_noted(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    keep(log)
    assert log.archives()
    assert Notes.load(log).last_offset == len(numbered(range(3000)))


def test_a_log_within_its_limit_is_not_even_opened(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("rotate was called")

    monkeypatch.setattr(rotation_service, "rotate", refuse)
    append(log, numbered(range(10)))
    keep(log, times=3)


def test_a_log_that_cannot_be_noted_is_rotated_all_the_same(log: LogFile) -> None:
    append(log, numbered(range(3000)))
    log.time_index.mkdir()
    keep(log)
    assert log.archives()


def test_a_program_that_never_ran_has_no_log_and_that_is_no_fault(
    log: LogFile, caplog: pytest.LogCaptureFixture
) -> None:
    keep(log, times=2)
    assert caplog.records == []
