"""Compressed log archives: gzip files that allow random access.

Each piece of PIECE_BYTES is a gzip member of its own whose header stores its compressed size in an extra field.
`zcat` reads the file as usual; search and tail decompress only the pieces they need.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from .filesystem import write_all
from .paths import Archive, Kind, create_private, open_existing

PIECE_BYTES = 256 * 1024
LEVEL = 1  # almost three times as fast as the default 6; archives are 14 % larger
GZIP = b"\x1f\x8b"
FIELD = b"pm"
# magic, method, flags, mtime, extra flags, OS; then the extra field: total length, id, length, size of the member
HEADER = struct.Struct("<2sBBLBBH2sHL")
TRAILER = struct.Struct("<LL")


class UnreadableArchiveError(Exception):
    """The file is damaged or was not written by `compress`."""


def pack(piece: bytes) -> bytes:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(piece) + deflate.flush()
    size = HEADER.size + len(body) + TRAILER.size
    header = HEADER.pack(GZIP, 8, 4, 0, 0, 255, 8, FIELD, 4, size)
    return header + body + TRAILER.pack(zlib.crc32(piece), len(piece))


def unpack(member: bytes) -> bytes:
    try:
        return zlib.decompress(member, wbits=16 + zlib.MAX_WBITS, bufsize=PIECE_BYTES)
    except zlib.error as error:
        raise UnreadableArchiveError(str(error)) from error


def compress(archive: Archive, *, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Replaces a plain archive with a compressed copy. False if `give_up()`, called between pieces, said so."""
    part = archive.as_kind(Kind.COMPRESSED_PART).path
    try:
        if not _write_copy(archive.path, part, give_up):
            return False
        part.rename(archive.as_kind(Kind.COMPRESSED).path)
    finally:
        part.unlink(missing_ok=True)
    archive.path.unlink()  # after the rename: a crash between the two leaves both, and readers prefer the copy
    return True


def _write_copy(plain: Path, part: Path, give_up: Callable[[], bool]) -> bool:
    with open_existing(plain) as source, create_private(part) as target:
        while piece := source.read(PIECE_BYTES):
            if give_up():
                return False
            write_all(target, pack(piece))
        os.fsync(target.fileno())
    return True


def read_piece(path: Path, number: int) -> bytes:
    """Decompresses piece `number`. Raises UnreadableArchiveError or FileNotFoundError."""
    with open_existing(path) as file:
        members = _members(path, os.fstat(file.fileno()).st_mtime_ns)
        if number >= len(members):
            raise UnreadableArchiveError(f"{path} is damaged or was not written by log rotation")
        start, size = members[number]
        file.seek(start)
        return unpack(file.read(size))


@lru_cache(maxsize=64)
def _members(path: Path, _mtime_ns: int) -> list[tuple[int, int]]:
    """(start, size) of each member up to the first damaged one. Cached: a finished archive does not change."""
    found: list[tuple[int, int]] = []
    start = 0
    with open_existing(path) as file:
        while size := _member_size(file.read(HEADER.size)):
            found.append((start, size))
            start = file.seek(start + size)
    return found


def _member_size(header: bytes) -> int:
    if len(header) < HEADER.size:
        return 0
    fields = HEADER.unpack(header)
    return fields[-1] if (fields[0], fields[7]) == (GZIP, FIELD) else 0
