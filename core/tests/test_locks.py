from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.locks import HeldError, hold, is_held

HOLDER = """
import sys, time
from django.conf import settings
settings.configure(RUN_DIR=sys.argv[1], DATA_DIR="x")
from core.locks import hold
with hold("agent"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_has_one_holder(data_dir: Path) -> None:
    with hold("agent"):
        assert is_held("agent")
        assert not is_held("serve")
        with pytest.raises(HeldError, match="another `agent` is running"), hold("agent"):
            pass
    assert not is_held("agent")


def test_a_lock_is_released_when_its_process_is_killed(data_dir: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(data_dir / "run")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert is_held("agent")
    holder.kill()
    holder.wait()
    assert not is_held("agent")


def test_a_program_started_meanwhile_does_not_inherit_the_lock(data_dir: Path) -> None:
    with hold("agent"):
        program = subprocess.Popen(["sleep", "60"], close_fds=False)
    assert not is_held("agent")
    program.kill()
    program.wait()


def test_the_lock_file_is_private(data_dir: Path) -> None:
    with hold("agent") as descriptor:
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600
