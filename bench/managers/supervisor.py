"""Supervisor, controlled by XML-RPC over one persistent connection to its Unix socket."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from xmlrpc.client import ServerProxy, Transport

import psutil

from bench.managers.base import ProcessManager, Program, StatusTiming, time_calls
from bench.peer_install import python_environment
from bench.processes import start
from bench.waiting import wait_until

CONFIG = """\
[unix_http_server]
file = {directory}/rpc.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisord]
nodaemon = true
logfile = {directory}/supervisord.log
pidfile = {directory}/supervisord.pid
childlogdir = {directory}
"""


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class UnixTransport(Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.connection = UnixConnection(path)

    def make_connection(self, host: object) -> HTTPConnection:
        return self.connection


class Supervisor(ProcessManager):
    title = "Supervisor"
    version = "4.3.0"

    bin: Path

    @classmethod
    def install(cls) -> None:
        cls.bin = python_environment("supervisor", f"supervisor=={cls.version}")

    def launch(self, programs: Sequence[Program]) -> None:
        config = self.directory / "supervisord.conf"
        sections = (self.section(program) for program in programs)
        config.write_text(CONFIG.format(directory=self.directory) + "".join(sections))
        log = self.directory / "output"
        self.daemon = start([self.bin / "supervisord", "-c", config], log=log)
        path = self.directory / "rpc.sock"
        wait_until(path.exists, seconds=20, failing="supervisord did not open its socket", log=log)
        self.rpc = ServerProxy("http://localhost", transport=UnixTransport(path)).supervisor

    def section(self, program: Program) -> str:
        lines = [f"[program:{program.name}]", f"command = {shlex.join(program.argv)}", "autostart = false"]
        if program.log_max_bytes is not None:
            lines += [
                f"stdout_logfile = {self.directory}/{program.name}.log",
                f"stdout_logfile_maxbytes = {program.log_max_bytes}",
                f"stdout_logfile_backups = {program.log_backups}",
            ]
        return "\n".join(lines) + "\n"

    def start_all(self) -> None:
        self.rpc.startAllProcesses(False)

    def root_process(self) -> psutil.Process:
        return self.daemon

    def time_status(self, times: int) -> StatusTiming:
        answer = self.rpc.getAllProcessInfo()
        assert isinstance(answer, list)
        return StatusTiming(time_calls(self.rpc.getAllProcessInfo, times), len(answer))
