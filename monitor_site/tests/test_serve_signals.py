from __future__ import annotations

import signal
import subprocess
import sys

from django.conf import settings

# As under nohup, and as a parent that blocks signals leaves them.
START = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
from monitor_site.serving.signals import reset_for_children
reset_for_children()
subprocess.run(["cat", "/proc/self/status"], check=True)
"""


def test_programs_do_not_inherit_ignored_or_blocked_signals() -> None:
    status = subprocess.run(
        [sys.executable, "-c", START], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True
    ).stdout
    fields = dict(line.split(":", 1) for line in status.splitlines())
    # The C library keeps a few signals for itself; a program cannot change those.
    mask = sum(1 << (number - 1) for number in signal.valid_signals())
    assert [int(fields[name], 16) & mask for name in ("SigIgn", "SigBlk")] == [0, 0]
