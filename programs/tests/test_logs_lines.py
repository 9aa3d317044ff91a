from __future__ import annotations

from pathlib import Path

import pytest

from programs.logs.archives import PIECE_BYTES
from programs.logs.lines import MAX_LINE_BYTES, chunks_before, chunks_from, clean, line_start, line_text
from programs.logs.paths import LogFile
from programs.logs.reader import Reader
from programs.logs.rotate import rotate

from .logs_rig import BLOCK, append


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path, 0)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain \t tab", "plain \t tab"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b(Bcharset \x1bM", "charset "),
        (b"nul\x00 bell\x07 cr\r", "nul bell cr"),
        (b"\xc2\x9b31mc1", "31mc1"),
        ("grüße 안녕 🙂".encode(), "grüße 안녕 🙂"),
        (b"bad \xff\xfe utf-8", "bad \ufffd\ufffd utf-8"),
        (b"half \xe2\x82", "half \ufffd"),
        (b"\x1b[31", ""),
        (b"\x1b", ""),
        (b"", ""),
    ],
)
def test_control_sequences_are_removed_from_lines(raw: bytes, shown: str) -> None:
    assert line_text(raw) == shown


def test_cleaning_many_lines_at_once_equals_cleaning_each(log: LogFile) -> None:
    nasty = b"\x1b]0;never ended\nnext \x1b[31mred\n\x1bPstring\n\xe2\x82\nlast \x1b"
    assert clean(nasty).split("\n") == [line_text(raw) for raw in nasty.split(b"\n")]


def test_unterminated_sequences_are_cleaned_in_linear_time() -> None:
    assert clean(b"\x1b]" * 500_000) == ""
    assert clean(b"\x1b[" + b"1;" * 500_000) == ""
    assert clean(b"\x1b[" * 500_000) == ""


@pytest.mark.parametrize("compress", [False, True])
def test_lines_are_the_same_in_both_directions_across_files_and_pieces(log: LogFile, compress: bool) -> None:
    lines = [b"%d " % n + b"y" * (n * 37 % 900) for n in range(3000)]
    for first in range(0, 3000, 500):
        append(log, b"".join(line + b"\n" for line in lines[first : first + 500]))
        rotate(log, max_bytes=BLOCK, backups=99, compress=compress)
    with Reader(log) as reader:
        assert [raw for chunk in chunks_from(reader, 0) for _, raw in chunk.lines()] == lines
        found = [line for chunk in chunks_before(reader, reader.end) for line in reversed(chunk.lines())][::-1]
    assert [raw for _, raw in found] == lines
    assert [end for end, _ in found] == [sum(len(raw) + 1 for raw in lines[: n + 1]) for n in range(3000)]


def test_an_overlong_line_is_cut_and_its_neighbours_are_complete(log: LogFile) -> None:
    size = 3 * PIECE_BYTES
    append(log, b"before\n" + b"z" * size + b"\nafter\n")
    with Reader(log) as reader:
        for chunks in (chunks_from(reader, 0), reversed(list(chunks_before(reader, reader.end)))):
            lines = [line for chunk in chunks for line in chunk.lines()]
            assert [line_text(raw) for _, raw in lines] == ["before", "z" * MAX_LINE_BYTES + "…", "after"]
            assert [end for end, _ in lines] == [7, size + 8, size + 14]


def test_a_log_without_any_newline_is_one_cut_line(log: LogFile) -> None:
    append(log, b"n" * 2_000_000)
    with Reader(log) as reader:
        (upwards,) = chunks_from(reader, 0)
        (downwards,) = chunks_before(reader, reader.end)
        assert upwards.end == downwards.end == 2_000_000
        assert len(upwards.data) == len(downwards.data) == MAX_LINE_BYTES + 1


def test_the_start_of_a_line_is_found_across_archives(log: LogFile) -> None:
    append(log, b"first\n" + b"s" * 70_000 + b"\n" + b"t" * 9)
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    with Reader(log) as reader:
        assert log.archives()
        assert [line_start(reader, at) for at in (0, 3, 6, 40_000)] == [0, 0, 6, 6]
        assert line_start(reader, reader.end) == reader.end - 9


def test_a_damaged_archive_costs_only_its_own_lines(log: LogFile, caplog: pytest.LogCaptureFixture) -> None:
    for first in (0, 1000, 2000):
        append(log, b"".join(b"%06d%s\n" % (n, b"x" * 93) for n in range(first, first + 1000)))
        rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    damaged = log.archives()[1].path
    damaged.write_bytes(damaged.read_bytes()[:40])
    with Reader(log) as reader:
        kept = [raw for chunk in chunks_before(reader, reader.end) for _, raw in chunk.lines()]
    assert len(kept) > 2000 and min(kept)[:6] == b"000000" and max(kept)[:6] == b"002999"
    assert "skipping an unreadable part" in caplog.text


def test_an_archive_compressed_by_another_tool_is_skipped(log: LogFile, caplog: pytest.LogCaptureFixture) -> None:
    append(log, b"x" * 99 + b"\n" + b"y" * 2 * BLOCK + b"\nlast\n")
    rotate(log, max_bytes=BLOCK, backups=9, compress=True)
    log.archives()[0].path.write_bytes(b"\x1f\x8b\x08\x00 not ours at all, but long enough for a header")
    with Reader(log) as reader:
        assert next(chunks_before(reader, reader.end)).lines()[-1][1] == b"last"
        assert list(chunks_from(reader, 0))[-1].lines()[-1][1] == b"last"
