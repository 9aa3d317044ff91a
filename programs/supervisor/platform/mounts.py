"""Which paths are on network or user-space file systems, where a system call may hang for ever."""

from __future__ import annotations

import contextlib
import os
import re
import select
from collections.abc import Callable, Iterator
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
REMOTE = re.compile(rb"nfs4?|cifs|smb3|smbfs|fuse.*|9p|virtiofs|ceph|afs|autofs|lustre|beegfs|gfs2|ocfs2")
MAX_LINKS = 40  # the kernel's limit


class RemoteMounts:
    """The mount points of such file systems, from the kernel's list. Empty on systems other than Linux."""

    def __init__(self, mounts: Path = MOUNTS) -> None:
        self._known: frozenset[str] = frozenset()
        self._changed: Callable[[int], object] = lambda milliseconds: False
        with contextlib.suppress(OSError):
            self._file = mounts.open("rb", buffering=0)
            poll = select.poll()
            poll.register(self._file, select.POLLPRI)
            self._changed = poll.poll
            self._known = _remote(self._file.read())

    def now(self) -> frozenset[str]:
        """Absolute paths. Reads the list again only when the kernel reports a change."""
        if self._changed(0):
            self._file.seek(0)
            self._known = _remote(self._file.read())
        return self._known


def _remote(mountinfo: bytes) -> frozenset[str]:
    # Without `/`: if the root is on the network, every path is.
    found = (line.partition(b" - ") for line in mountinfo.splitlines())
    return frozenset(
        _unescaped(where.split()[4]) for where, _, what in found if REMOTE.fullmatch(what.split()[0])
    ) - {"/"}


def _unescaped(path: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), path))


def remote_mount_of(path: str, mounts: frozenset[str]) -> str | None:
    """The one of `mounts` that the absolute `path` leads to, links included. Makes no system call inside it."""
    for _ in range(MAX_LINKS):
        for prefix in _prefixes(path):
            if prefix in mounts:
                return prefix
            if target := _link(prefix):
                path = os.path.normpath(os.path.join(os.path.dirname(prefix), target) + path[len(prefix) :])  # noqa: PTH118, PTH120
                break
        else:
            return None
    return None


def _link(path: str) -> str:
    """The target of a link, absolute or relative; empty if `path` is no link."""
    try:
        return os.readlink(path)  # noqa: PTH115  (strings only: this is the restart path)
    except OSError:
        return ""


def _prefixes(path: str) -> Iterator[str]:
    """/a, /a/b and so on, up to the path itself."""
    end = path.find("/", 1)
    while end > 0:
        yield path[:end]
        end = path.find("/", end + 1)
    yield path
