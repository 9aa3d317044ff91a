"""Circus, controlled over ZeroMQ with its own client library."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.managers.base import ProcessManager, Program, StatusTiming
from bench.peer_install import python_environment
from bench.processes import HelperProcess, free_port, start

CLIENT = Path(__file__).parent.parent / "helper_processes" / "circus_client.py"


class Circus(ProcessManager):
    title = "Circus"
    version = "0.19.0"
    bin: Path

    @classmethod
    def install(cls) -> None:
        cls.bin = python_environment("circus", f"circus=={cls.version}")

    def launch(self, programs: Sequence[Program]) -> None:
        endpoint = f"tcp://127.0.0.1:{free_port()}"
        config = self.directory / "circus.ini"
        head = f"[circus]\nendpoint = {endpoint}\npubsub_endpoint = tcp://127.0.0.1:{free_port()}\n"
        config.write_text(head + "".join(self.section(program) for program in programs))
        self.daemon = start([self.bin / "circusd", config], log=self.directory / "output")
        self.client = HelperProcess([self.bin / "python", CLIENT, endpoint], log=self.directory / "client.log")
        # `start` without names skips watchers with `autostart = false`, so all of them run once before the test.
        self.client.ask("status", times=0)
        self.client.ask("stop")

    def section(self, program: Program) -> str:
        command, *arguments = program.argv
        lines = [f"[watcher:{program.name}]", f"cmd = {command}", f"args = {shlex.join(arguments)}"]
        if program.log_max_bytes is not None:
            lines += [
                "stdout_stream.class = FileStream",
                f"stdout_stream.filename = {self.directory}/{program.name}.log",
                f"stdout_stream.max_bytes = {program.log_max_bytes}",
                f"stdout_stream.backup_count = {program.log_backups}",
            ]
        return "\n".join(lines) + "\n"

    def start_all(self) -> None:
        self.client.ask("start")

    def root_process(self) -> psutil.Process:
        return self.daemon

    def time_status(self, times: int) -> StatusTiming:
        return StatusTiming(**self.client.ask("status", times=times))

    def time_usage(self, times: int) -> StatusTiming:
        return StatusTiming(**self.client.ask("stats", times=times))
