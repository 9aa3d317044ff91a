"""The operating system behind one set of functions: the kernel's own interfaces on Linux, psutil elsewhere."""

import sys

from .base import MARKER, Exit, Identity, OnExit, ProcessInfo, Watch

if sys.platform == "linux":
    from . import linux as system
else:
    from . import portable as system

adjust_started = system.adjust_started
boot_id = system.boot_id
identity = system.identity
is_running = system.is_running
kernel_seconds = system.kernel_seconds
kill_group = system.kill_group
marker_of = system.marker_of
now = system.now
oom_kills = system.oom_kills
process_table = system.process_table
raise_file_limit = system.raise_file_limit
send_signal = system.send_signal
signal_name = system.signal_name
watch = system.watch

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
