"""A mount whose server is gone: a FUSE file system that answers the first request and no other."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

NO_SUID_NO_DEVICES = 2 | 4
INIT = 26
REQUEST_BYTES = 1 << 18


@contextlib.contextmanager
def stuck(folder: Path) -> Iterator[Path]:
    """Hides what is in the folder during the block. Needs root. A process that accesses it cannot be killed."""
    folder.mkdir(exist_ok=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"stuck", os.fsencode(folder), b"fuse", NO_SUID_NO_DEVICES, options):
        raise OSError(ctypes.get_errno(), "mount")
    threading.Thread(target=_swallow, args=(device,), daemon=True).start()
    try:
        yield folder
    finally:
        subprocess.run(
            ["umount", "--force", "--lazy", str(folder)], check=True
        )  # forced: it aborts pending requests


def _swallow(device: int) -> None:
    """Takes every request, which makes its sender uninterruptible, and answers the first."""
    with contextlib.suppress(OSError):  # the end
        while request := os.read(device, REQUEST_BYTES):
            _, kind, number = struct.unpack_from("=IIQ", request)
            if kind == INIT:
                body = struct.pack("=IIIIHHII9I", 7, 31, 0, 0, 0, 0, 65_536, 1, *[0] * 9)
                os.write(device, struct.pack("=IiQ", 16 + len(body), 0, number) + body)
    os.close(device)
