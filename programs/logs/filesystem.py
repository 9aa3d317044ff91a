"""What the file system must do for a rotation, and what to do where it cannot. Linux calls live only here."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from io import FileIO
from typing import Any, cast

COPY_BYTES = 4 * 1024 * 1024
PUNCH_HOLE = 0x02 | 0x01  # with KEEP_SIZE
COLLAPSE_RANGE = 0x08
# EINVAL: allocation units above the block size (bigalloc). EPERM: a container's call filter.
UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})


def _libc_fallocate() -> Callable[..., Any] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "fallocate64", None) or libc.fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return cast(Callable[..., Any], call)


_fallocate = _libc_fallocate()


def fallocate(file: FileIO, mode: int, offset: int, length: int) -> None:
    if _fallocate is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _fallocate(file.fileno(), mode, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), file.name)


def block_size(file: FileIO) -> int:
    return os.fstatvfs(file.fileno()).f_bsize if hasattr(os, "fstatvfs") else 4096


def copy_some(source: FileIO, offset: int, target: FileIO, size: int) -> int:
    """Append up to `size` bytes from `offset` on to `target`, in the kernel where it can. 0 at the end."""
    size = min(size, COPY_BYTES)
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source.fileno(), target.fileno(), size, offset_src=offset)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
    source.seek(offset)
    return target.write(source.read(size))


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of it or raise: a single write on a filling disk says only how far it came."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def write_durably(file: FileIO, data: bytes) -> None:
    """Put `data` at the head of the file and wait until the disk has it; nothing else of the file is flushed."""
    if hasattr(os, "RWF_DSYNC"):
        os.pwritev(file.fileno(), [data], 0, os.RWF_DSYNC)
        return
    _write_at(file, 0, data)
    os.fsync(file.fileno())


def collapse(file: FileIO, _done: int, upto: int) -> None:
    """Cut the head off in one step: readers and the appending program see either all of it or nothing."""
    fallocate(file, COLLAPSE_RANGE, 0, upto)


def punch(file: FileIO, done: int, upto: int) -> None:
    """Give the head's blocks back, all but the first; offsets stay. `done` bytes were given back before."""
    start = max(done, block_size(file))
    if start < upto:
        fallocate(file, PUNCH_HOLE, start, upto - start)


def shift(file: FileIO, _done: int, upto: int) -> None:
    """Move the rest of the file to its head and cut. A line written during the last step is lost."""
    head, at = block_size(file), 0
    file.seek(upto)
    first = file.read(head)
    while rest := _read_at(file, upto + head + at):
        _write_at(file, head + at, rest)
        at += len(rest)
    _write_at(file, 0, first)
    file.truncate(len(first) + at)


def _read_at(file: FileIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(COPY_BYTES)


def _write_at(file: FileIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    write_all(file, data)


Removal = Callable[[FileIO, int, int], None]


def remove_head(file: FileIO, done: int, upto: int) -> Removal:
    """Free the first `upto` bytes by the best way this file system knows; `done` of them are free already.

    Returns the way taken: `collapse` and `punch` lose nothing, `shift` may.
    """
    for way in (collapse, punch):
        try:
            way(file, done, upto)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        else:
            return way
    shift(file, done, upto)
    return shift
