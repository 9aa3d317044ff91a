"""File system operations for log rotation, with fallbacks. The only module with Linux system calls for it."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from io import FileIO
from typing import Any, cast

COPY_BYTES = 4 * 1024 * 1024
PUNCH_HOLE = 0x02 | 0x01  # the kernel requires FALLOC_FL_KEEP_SIZE with it
COLLAPSE_RANGE = 0x08
# EINVAL: ext4 with bigalloc, whose clusters are larger than a block. EPERM: the seccomp filter of a container.
UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})


def _libc_fallocate() -> Callable[..., Any] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    # On 32-bit glibc only fallocate64 takes 64-bit offsets; other C libraries can lack it.
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
    """Appends up to `size` bytes from `offset` to `target`, in the kernel if possible. Returns 0 at the end."""
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
    rest = memoryview(data)
    # One write on a filling disk can write a part without an error; the next one then raises ENOSPC.
    while rest:
        rest = rest[file.write(rest) :]


def write_durably(file: FileIO, data: bytes) -> None:
    """Overwrites the head of the file with `data` and waits until it is on disk."""
    if hasattr(os, "RWF_DSYNC"):  # unlike fsync, does not flush the megabytes that the program has just written
        os.pwritev(file.fileno(), [data], 0, os.RWF_DSYNC)
        return
    _write_at(file, 0, data)
    os.fsync(file.fileno())


def collapse_range(file: FileIO, _done: int, upto: int) -> None:
    """Removes the head atomically, also for concurrent readers and the appending program."""
    fallocate(file, COLLAPSE_RANGE, 0, upto)


def punch_hole(file: FileIO, done: int, upto: int) -> None:
    """Frees the blocks of the head except the first, which holds the stamp. `done` bytes are already free."""
    start = max(done, block_size(file))
    if start < upto:
        fallocate(file, PUNCH_HOLE, start, upto - start)


def shift_to_front(file: FileIO, _done: int, upto: int) -> None:
    """Copies the rest of the file to its head and truncates. Loses lines written between the last two calls."""
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
    """Frees the first `upto` bytes, `done` of which are already free, with the best method available.

    Returns the method used: `collapse_range` and `punch_hole` lose nothing, `shift_to_front` can lose lines.
    """
    for remove in (collapse_range, punch_hole):
        try:
            remove(file, done, upto)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        else:
            return remove
    shift_to_front(file, done, upto)
    return shift_to_front
