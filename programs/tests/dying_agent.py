"""`manage.py agent` that kills itself at the `DIE_AT`-th line of the supervisor after it called `DIE_IN`.

With `DIE_UNDER`, a folder, the lines of the files in it count instead, in any thread.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
WATCHED = str(MANAGE.parent / os.environ.get("DIE_UNDER", "programs/supervisor"))
at, trigger = int(os.environ["DIE_AT"]), os.environ["DIE_IN"]
lines, is_armed = 0, False


def count(frame: FrameType, event: str, _argument: object) -> Any:
    global lines
    if event == "line":
        lines += 1
        if lines == at:
            os.kill(os.getpid(), signal.SIGKILL)
    return count


def enter(frame: FrameType, _event: str, _argument: object) -> Any:
    global is_armed
    if not frame.f_code.co_filename.startswith(WATCHED):
        return None
    is_armed = is_armed or frame.f_code.co_name == trigger
    return count(frame, "call", None) if is_armed else None


sys.path.insert(0, str(MANAGE.parent))
sys.argv = [str(MANAGE), "agent"]
if "DIE_UNDER" in os.environ:
    threading.settrace(enter)
else:
    sys.settrace(enter)
runpy.run_path(str(MANAGE), run_name="__main__")
