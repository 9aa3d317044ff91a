"""Explains exit codes, signals and Windows status codes."""

from __future__ import annotations

from pathlib import PurePath

SIGNALS: dict[int, tuple[str, str]] = {
    1: ("SIGHUP", "its terminal or session was closed"),
    2: ("SIGINT", "interrupted, for example by Ctrl+C"),
    3: ("SIGQUIT", "asked to quit with a core dump"),
    4: ("SIGILL", "illegal instruction (built for another processor?)"),
    5: ("SIGTRAP", "breakpoint, or an abort of its own (Chromium and Go do this)"),
    6: ("SIGABRT", "aborted after a fatal error"),
    7: ("SIGBUS", "bus error: a mapped file was truncated, or the disk is full or failing"),
    8: ("SIGFPE", "arithmetic error, such as a division by zero"),
    9: ("SIGKILL", "killed by a user or by the system"),
    10: ("SIGUSR1", "a signal that it does not handle"),
    11: ("SIGSEGV", "invalid memory access (segmentation fault)"),
    12: ("SIGUSR2", "a signal that it does not handle"),
    13: ("SIGPIPE", "wrote to a closed pipe or connection"),
    14: ("SIGALRM", "a timer of its own expired"),
    15: ("SIGTERM", "asked to stop"),
    16: ("SIGSTKFLT", "stack fault"),
    24: ("SIGXCPU", "exceeded its limit of CPU time"),
    25: ("SIGXFSZ", "exceeded its limit of file size"),
    26: ("SIGVTALRM", "a timer of its own expired"),
    27: ("SIGPROF", "a timer of its own expired"),
    29: ("SIGIO", "a signal that it does not handle"),
    30: ("SIGPWR", "power failure"),
    31: ("SIGSYS", "made a forbidden or unknown system call"),
}
SIGNAL_MEANINGS = dict(SIGNALS.values())

EXIT_CODES: dict[int, str] = {
    1: "a general error; see its log",
    2: "invalid arguments, or misuse of a shell command",
    64: "invalid command line (usage)",
    65: "invalid input data",
    66: "an input file is missing or unreadable",
    67: "unknown user",
    68: "unknown host",
    69: "a required service is unavailable",
    70: "internal error of the program",
    71: "operating system error, such as too many processes",
    72: "a system file is missing or invalid",
    73: "cannot create an output file",
    74: "input/output error",
    75: "temporary failure; a retry may succeed",
    76: "protocol error of the remote side",
    77: "permission denied",
    78: "invalid configuration",
    124: "timed out (timeout)",
    125: "the launcher itself failed (docker, timeout, env)",
    126: "the command was found but cannot be executed (no permission, or not a program)",
    127: "command not found",
    128: "invalid exit code",
    255: "unspecified error (-1)",
}

# Codes of runtimes, by the name of the executable without its version.
RUNTIME_CODES: dict[str, dict[int, str]] = {
    "java": {1: "uncaught exception, or the JVM could not start; see its log"},
    "node": {
        1: "uncaught exception; see its log",
        3: "Node.js could not parse its own code",
        5: "fatal error in V8",
        7: "the handler of uncaught exceptions failed",
        9: "invalid Node.js option",
        12: "invalid debugger option",
        13: "a top-level await never settled",
    },
    "python": {
        1: "uncaught exception; see its log",
        2: "invalid arguments, or the script cannot be opened",
        120: "Python could not flush its output",
    },
    "ssh": {255: "the connection failed"},
}

# Meanings of 128 + signal as an exit code that differ from those of the signal.
SHELL_CODES: dict[int, str] = {
    134: "aborted after a fatal error (Node.js: out of heap memory; Java: crash of the JVM)",
    137: "killed, often because memory ran out (in a container: its memory limit)",
    143: "stopped on request (normal for Java)",
}

NTSTATUS: dict[int, str] = {
    0x40010004: "closed by a debugger or by logging off",
    0x80000003: "breakpoint",
    0xC0000005: "invalid memory access (access violation)",
    0xC0000006: "a memory page could not be read (disk or network drive failing)",
    0xC0000017: "not enough memory",
    0xC000001D: "illegal instruction",
    0xC0000022: "access denied",
    0xC0000094: "division by zero",
    0xC00000FD: "stack overflow (endless recursion?)",
    0xC000012D: "the system ran out of virtual memory (page file too small)",
    0xC0000135: "a required DLL was not found",
    0xC0000138: "a required DLL lacks a function",
    0xC0000139: "a required DLL lacks a function",
    0xC000013A: "interrupted by Ctrl+C, or its window was closed",
    0xC0000142: "a required DLL could not be initialised",
    0xC0000374: "heap corruption",
    0xC0000409: "aborted after a fatal error (stack overrun or fail-fast)",
    0xC000041D: "unhandled exception in a callback",
    0xE0434352: "unhandled .NET exception",
    0xE06D7363: "unhandled C++ exception",
}
_ALIASES = {"nodejs": "node", "pypy": "python", "pythonw": "python", "javaw": "java"}
UNKNOWN_EXIT = "Exit status unknown: the agent did not see the process exit"
OUT_OF_MEMORY = "Killed by the kernel because the system ran out of memory (OOM killer)"


def exit_meaning(
    exit_code: int | None, exit_signal: str | None, out_of_memory: bool = False, executable: str = ""
) -> str:
    """`exit_signal` is a name like `SIGSEGV`; code and signal are None if the exit was not observed.

    `executable`, a name or path, selects the meanings of its runtime (Python, Node.js …).
    """
    if out_of_memory:
        return OUT_OF_MEMORY
    if exit_signal:
        return _signal_meaning(exit_signal)
    return UNKNOWN_EXIT if exit_code is None else _code_meaning(exit_code, executable)


def _signal_meaning(given: str) -> str:
    name = "SIG" + given.upper().removeprefix("SIG")
    meaning = SIGNAL_MEANINGS.get(name)
    return f"Killed by {name}: {meaning}" if meaning else f"Killed by {name}"


def _code_meaning(code: int, executable: str) -> str:
    if code == 0:
        return "Exited normally (exit code 0)"
    if not 0 <= code <= 255:
        return _windows_meaning(code & 0xFFFFFFFF)
    if meaning := _runtime_codes(executable).get(code) or EXIT_CODES.get(code):
        return f"Exit code {code}: {meaning}"
    if (number := code - 128) in SIGNALS:
        name, meaning = SIGNALS[number]
        return f"Exit code {code} (128+{number}, {name}): {SHELL_CODES.get(code, meaning)}"
    return f"Exit code {code}: specific to this program; see its log or manual"


def _runtime_codes(executable: str) -> dict[int, str]:
    # `/usr/bin/python3.11` → `python`
    name = PurePath(executable).name.lower().removesuffix(".exe").rstrip("0123456789.")
    return RUNTIME_CODES.get(_ALIASES.get(name, name), {})


def _windows_meaning(code: int) -> str:
    meaning = NTSTATUS.get(code, "a status code of Windows or of the program")
    return f"Exit code 0x{code:08X}: {meaning}"
