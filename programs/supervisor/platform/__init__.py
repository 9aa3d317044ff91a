"""The operating system, behind one set of functions. Linux asks the kernel directly; others go through psutil."""

import sys

from .base import MARKER, Exit, Identity, OnExit, ProcessInfo, Watch

if sys.platform == "linux":
    from .linux import (
        adjust_started,
        boot_id,
        identity,
        is_running,
        kernel_seconds,
        kill_group,
        marker_of,
        now,
        oom_kills,
        process_table,
        raise_file_limit,
        send_signal,
        signal_name,
        watch,
    )
else:
    from .portable import (
        adjust_started,
        boot_id,
        identity,
        is_running,
        kernel_seconds,
        kill_group,
        marker_of,
        now,
        oom_kills,
        process_table,
        raise_file_limit,
        send_signal,
        signal_name,
        watch,
    )

__all__ = [
    "MARKER",
    "Exit",
    "Identity",
    "OnExit",
    "ProcessInfo",
    "Watch",
    "adjust_started",
    "boot_id",
    "identity",
    "is_running",
    "kernel_seconds",
    "kill_group",
    "marker_of",
    "now",
    "oom_kills",
    "process_table",
    "raise_file_limit",
    "send_signal",
    "signal_name",
    "watch",
]
