"""Installs the peers with pip and npm into `bench/.peers/`, once per version."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.waiting import BenchError

PEERS = Path(__file__).parent / ".peers"
INSTALL_SECONDS = 240


def python_environment(name: str, *requirements: str) -> Path:
    """A virtual environment with only these requirements. Returns its `bin`; raises BenchError if pip fails."""
    folder = PEERS / name
    commands = [
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements],
    ]
    install_once(folder, requirements, commands)
    return folder / "bin"


def node_environment(name: str, *requirements: str) -> Path:
    """A folder with only these packages. Returns its `node_modules`; raises BenchError if npm fails."""
    folder = PEERS / name
    quiet = ["--silent", "--no-audit", "--no-fund", "--no-save"]
    install_once(folder, requirements, [["npm", "install", "--prefix", str(folder), *quiet, *requirements]])
    return folder / "node_modules"


def install_once(folder: Path, requirements: Sequence[str], commands: Sequence[list[str]]) -> None:
    """Run the commands in an empty `folder`, unless an earlier run completed them for the same requirements."""
    complete = folder / ".complete"
    wanted = "\n".join(requirements)
    # Two runs at the same time must not fill the same folder.
    with locked(PEERS / f"{folder.name}.lock"):
        if complete.exists() and complete.read_text() == wanted:
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for command in commands:
            run(command)
        complete.write_text(wanted)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: list[str]) -> None:
    shown = " ".join(Path(part).name if Path(part).is_absolute() else part for part in command)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except FileNotFoundError as error:
        raise BenchError(f"{command[0]} is not installed; `{shown}` cannot run") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"`{shown}` took longer than {INSTALL_SECONDS} s") from error
    if done.returncode:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise BenchError(f"`{shown}` failed ({done.returncode}): {output[-1] if output else 'no output'}")
