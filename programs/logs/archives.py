"""Compressed archives: plain gzip files that can nevertheless be read from the middle.

Each piece of the log is a gzip member of its own, and says in an extra header field how long it is packed. So
`zcat` reads an archive as ever, and a search or a tail unpacks only the pieces it wants.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from .paths import Archive, Kind, create_private

PIECE_BYTES = 256 * 1024
LEVEL = 1  # nearly three times as fast as the default level 6, for archives a seventh larger
FIELD = b"pm"
# magic, method, flags, time, extra flags, system; then the extra field: all, name, length, size of the member
HEADER = struct.Struct("<2sBBLBBH2sHL")
TRAILER = struct.Struct("<LL")


class UnreadableArchiveError(Exception):
    """The file is not one of ours, or damaged."""


def pack(piece: bytes) -> bytes:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(piece) + deflate.flush()
    size = HEADER.size + len(body) + TRAILER.size
    header = HEADER.pack(b"\x1f\x8b", 8, 4, 0, 0, 255, 8, FIELD, 4, size)
    return header + body + TRAILER.pack(zlib.crc32(piece), len(piece))


def unpack(member: bytes) -> bytes:
    try:
        return zlib.decompress(member, wbits=16 + zlib.MAX_WBITS)
    except zlib.error as error:
        raise UnreadableArchiveError(str(error)) from error


def compress(archive: Archive, *, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Replace a plain archive by its compressed copy, unless `give_up()` says so between two pieces."""
    part = archive.as_kind(Kind.COMPRESSED_PART).path
    try:
        if not _write_copy(archive.path, part, give_up):
            return False
        part.rename(archive.as_kind(Kind.COMPRESSED).path)
    finally:
        part.unlink(missing_ok=True)
    archive.path.unlink()
    return True


def _write_copy(plain: Path, part: Path, give_up: Callable[[], bool]) -> bool:
    with FileIO(plain) as source, create_private(part) as target:
        while piece := source.read(PIECE_BYTES):
            if give_up():
                return False
            target.write(pack(piece))
        os.fsync(target.fileno())
    return True


def read_piece(path: Path, number: int) -> bytes:
    """The piece `number` of a compressed archive, unpacked. Raises UnreadableArchiveError, FileNotFoundError."""
    with FileIO(path) as file:
        for _ in range(number):
            file.seek(_member_size(file.read(HEADER.size)) - HEADER.size, os.SEEK_CUR)
        header = file.read(HEADER.size)
        return unpack(header + file.read(_member_size(header) - HEADER.size))


def _member_size(header: bytes) -> int:
    if len(header) < HEADER.size:
        raise UnreadableArchiveError("it ends too early")
    fields = HEADER.unpack(header)
    if (fields[0], fields[7]) != (b"\x1f\x8b", FIELD) or fields[9] < HEADER.size:
        raise UnreadableArchiveError("it was not written by a rotation")
    return int(fields[9])
