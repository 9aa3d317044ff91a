from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from core.masking import MASK
from core.secret_mask import SecretMask
from programs.logs import follow as follow_module
from programs.logs.archives import PIECE_BYTES
from programs.logs.follow import MAX_LAG_BYTES, PARTIAL_LINE_SECONDS, Follower, follow
from programs.logs.lines import Line
from programs.logs.paths import LogFile
from programs.logs.rotate import rotate

from .logs_rig import BLOCK, append, numbered, start_rotator, start_writer


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path, 0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def texts(lines: list[Line]) -> list[str]:
    return [line["text"] for line in lines]


def drained(follower: Follower) -> list[str]:
    found: list[str] = []
    while follower.has_news():
        found += texts(follower.read_new())
    return found


def test_following_starts_with_the_last_lines(log: LogFile) -> None:
    append(log, b"one\ntwo\nthree\n")
    assert drained(Follower(log, tail=2)) == ["two", "three"]
    assert drained(Follower(log, tail=99)) == ["one", "two", "three"]
    assert drained(Follower(log)) == []


def test_new_lines_are_returned_once_with_a_time(log: LogFile) -> None:
    follower = Follower(log)
    append(log, b"before\n")
    assert drained(follower) == []
    append(log, b"a\nb\n")
    first = follower.read_new()
    assert texts(first) == ["a", "b"] and all(line["time"] for line in first)
    assert not follower.has_news() and follower.read_new() == []
    append(log, b"c\n")
    assert drained(follower) == ["c"]


def test_a_log_may_be_created_after_following_has_started(log: LogFile) -> None:
    follower = Follower(log, tail=10)
    assert drained(follower) == []
    append(log, b"born\n")
    assert drained(follower) == ["born"]


def test_an_unfinished_line_waits_for_its_newline(log: LogFile) -> None:
    follower = Follower(log, clock=Clock())
    drained(follower)
    append(log, b"half")
    assert drained(follower) == []
    append(log, b" and half\nnext")
    assert drained(follower) == ["half and half"]


def test_an_unfinished_line_is_returned_after_a_second(log: LogFile) -> None:
    clock = Clock()
    follower = Follower(log, clock=clock)
    drained(follower)
    append(log, b"Password: ")
    assert drained(follower) == []
    clock.now += PARTIAL_LINE_SECONDS
    assert follower.has_news() and texts(follower.read_new()) == ["Password: "]
    assert not follower.has_news()
    append(log, b"\nwelcome\n")
    assert drained(follower) == ["", "welcome"]


def test_a_secret_that_is_written_in_two_halves_is_masked(log: LogFile) -> None:
    clock, mask = Clock(), SecretMask(["hunter2-hunter2", "line one\nhunting"])
    follower = Follower(log, clock=clock)
    drained(follower)
    append(log, b"using hunter2-hu")
    clock.now += PARTIAL_LINE_SECONDS
    follower.read_new(mask)
    clock.now += PARTIAL_LINE_SECONDS
    assert texts(follower.read_new(mask)) == ["using "]
    clock.now += PARTIAL_LINE_SECONDS
    assert not follower.has_news()
    append(log, b"nter2 now\nhunt\n")
    assert texts(follower.read_new(mask)) == [f"{MASK} now", "hunt"]


def test_half_a_secret_beside_skipped_bytes_is_masked(log: LogFile) -> None:
    mask = SecretMask(["hunter2-hunter2"])
    follower = Follower(log)
    drained(follower)
    append(log, b"first hunter2-h")
    follower.read_new(mask)
    append(log, b"unter2\n" + b"x" * (MAX_LAG_BYTES + PIECE_BYTES) + b"\nlast\n")
    shown: list[str] = []
    while follower.has_news():
        shown += texts(follower.read_new(mask))
    assert (shown[0], shown[-1]) == (f"first {MASK}", "last")
    assert not [text for text in shown if "unter" in text]


def test_a_progress_bar_that_never_pauses_is_returned_too(log: LogFile) -> None:
    clock = Clock()
    follower = Follower(log, clock=clock)
    drained(follower)
    shown: list[str] = []
    for percent in range(30):
        append(log, b"%d%% \r" % percent)
        shown += texts(follower.read_new())
        clock.now += 0.1
    assert len(shown) >= 2 and shown[0].startswith("0% 1% 2% ")


def test_a_line_unfinished_at_the_start_is_returned_complete(log: LogFile) -> None:
    append(log, b"old\nunfini")
    follower = Follower(log, clock=Clock())
    assert drained(follower) == []
    append(log, b"shed\n")
    assert drained(follower) == ["unfinished"]


def test_one_read_is_bounded_and_has_news_reports_the_rest(log: LogFile) -> None:
    follower = Follower(log)
    drained(follower)
    append(log, numbered(range(10_000)))
    batch = follower.read_new()
    assert 0 < len(batch) <= PIECE_BYTES / len(numbered([0])) and follower.has_news()
    assert len(batch) + len(drained(follower)) == 10_000


def test_a_follower_far_behind_skips_ahead_and_reports_it(log: LogFile) -> None:
    follower = Follower(log)
    append(log, b"start\n")
    drained(follower)
    data = numbered(range(MAX_LAG_BYTES // 60))
    append(log, data)
    first, *lines = drained(follower)
    kept = sum(len(line) + 1 for line in lines)
    assert first == f"… {len(data) - kept:,} bytes skipped"
    assert [int(line[1:8]) for line in lines] == list(range(MAX_LAG_BYTES // 60))[-len(lines) :]


def test_lines_deleted_before_they_were_read_are_reported(log: LogFile) -> None:
    follower = Follower(log)
    append(log, b"start\n")
    drained(follower)
    append(log, numbered(range(3000)))
    rotate(log, max_bytes=BLOCK, backups=0, compress=False)
    first, torn, *lines = drained(follower)
    assert first == f"… {3 * BLOCK - 6:,} bytes skipped"
    assert [int(line[1:8]) for line in lines] == list(range(3000))[-len(lines) :] and len(torn) < 70


def test_a_log_truncated_by_its_program_is_followed_on(log: LogFile) -> None:
    follower = Follower(log)
    append(log, b"long line before\n")
    drained(follower)
    os.truncate(log.live, 0)
    append(log, b"after\n")
    assert drained(follower) == ["after"]


def test_a_replaced_live_file_is_followed(log: LogFile) -> None:
    follower = Follower(log)
    append(log, numbered(range(2000)))
    rotate(log, max_bytes=BLOCK, backups=9, compress=False)
    drained(follower)
    log.live.unlink()
    assert drained(follower) == []
    append(log, b"new\n")
    assert drained(follower) == ["new"]


def test_a_log_whose_files_were_all_deleted_is_reported_as_skipped(log: LogFile) -> None:
    follower = Follower(log)
    append(log, b"start\n")
    drained(follower)
    append(log, numbered(range(3000)))
    rotate(log, max_bytes=BLOCK, backups=0, compress=False)
    log.live.unlink()
    assert drained(follower) == [f"… {3 * BLOCK - 6:,} bytes skipped"]


@pytest.mark.parametrize("compress", [False, True])
def test_rotations_between_two_reads_skip_no_lines(log: LogFile, compress: bool) -> None:
    follower = Follower(log)
    found = drained(follower)
    for first in range(0, 9000, 900):
        append(log, numbered(range(first, first + 900)))
        if first % 1800:
            found += drained(follower)
        rotate(log, max_bytes=BLOCK, backups=99, compress=compress)
    found += drained(follower)
    assert [int(line[1:8]) for line in found] == list(range(9000))


async def test_a_follower_keeps_up_with_a_writing_program_and_rotations(log: LogFile) -> None:
    append(log, b"")
    found: list[str] = []
    collecting = asyncio.create_task(collect(Follower(log), found, 40_000))
    await asyncio.sleep(0.2)
    rotator = start_rotator(log)
    writer = start_writer(log, 40_000, per_write=20, pause=0.0005)
    try:
        await asyncio.wait_for(collecting, 60)
    finally:
        for process in (rotator, writer):
            process.kill()
            process.communicate()
    assert [int(text[1:8]) for text in found] == list(range(40_000))
    assert len(log.archives()) >= 20


async def collect(follower: Follower, found: list[str], count: int) -> None:
    async for batch in follower.lines():
        found += texts(batch)
        if len(found) >= count:
            return


async def test_several_instances_are_followed_together(tmp_path: Path) -> None:
    logs = [LogFile(tmp_path, index) for index in (0, 1)]
    for log in logs:
        append(log, b"from %d\n" % log.index)
    batches = follow(logs, tail=1)
    first = await anext(batches)
    assert [(line["instance"], line["text"]) for line in first] == [(0, "from 0"), (1, "from 1")]
    append(logs[1], b"more\n")
    assert [(line["instance"], line["text"]) for line in await anext(batches)] == [(1, "more")]
    await batches.aclose()


async def test_a_new_line_is_returned_within_ten_polls(log: LogFile) -> None:
    append(log, b"first\n")
    lines = Follower(log, tail=1).lines()
    assert texts(await anext(lines)) == ["first"]
    waiting = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0.05)
    written = time.monotonic()
    append(log, b"second\n")
    assert texts(await waiting) == ["second"]
    assert time.monotonic() - written < 10 * follow_module.POLL_SECONDS
