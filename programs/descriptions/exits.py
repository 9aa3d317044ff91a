"""Why a process ended: what its exit code or the signal that killed it commonly means."""

from __future__ import annotations

from pathlib import PurePath

SIGNALS: dict[int, tuple[str, str]] = {
    1: ("SIGHUP", "its terminal or session went away"),
    2: ("SIGINT", "it was interrupted, as by Ctrl+C"),
    3: ("SIGQUIT", "it was asked to quit and leave a memory dump"),
    4: ("SIGILL", "it came to an instruction this processor does not know (built for another machine?)"),
    5: ("SIGTRAP", "it ran into a breakpoint, or gave up by itself (Chromium and Go do so)"),
    6: ("SIGABRT", "it gave up by itself after a fatal error (abort)"),
    7: ("SIGBUS", "the memory it touched has nothing behind it (file cut short, disk full or failing)"),
    8: ("SIGFPE", "it made a calculation that has no result, such as dividing by zero"),
    9: ("SIGKILL", "it was ended by force, by somebody or by the system"),
    10: ("SIGUSR1", "it got a signal it does not handle"),
    11: ("SIGSEGV", "it touched memory that is not its own (segmentation fault)"),
    12: ("SIGUSR2", "it got a signal it does not handle"),
    13: ("SIGPIPE", "it wrote to somebody who no longer reads"),
    14: ("SIGALRM", "a timer of its own went off and it does not handle it"),
    15: ("SIGTERM", "it was asked to end"),
    16: ("SIGSTKFLT", "a fault of the stack"),
    24: ("SIGXCPU", "it used more processor time than its limit allows"),
    25: ("SIGXFSZ", "a file it wrote grew beyond the size limit"),
    26: ("SIGVTALRM", "a timer of its own went off and it does not handle it"),
    27: ("SIGPROF", "a timer of its own went off and it does not handle it"),
    29: ("SIGIO", "it got a signal it does not handle"),
    30: ("SIGPWR", "the power is failing"),
    31: ("SIGSYS", "it made a system call that is forbidden to it, or unknown to this kernel"),
}
SIGNAL_MEANINGS = dict(SIGNALS.values())

EXIT_CODES: dict[int, str] = {
    1: "a general error; its log should say which",
    2: "wrong arguments, or a wrong use of a shell command",
    64: "it was called in a wrong way (usage)",
    65: "its input data is wrong",
    66: "an input file is missing or cannot be read",
    67: "a user it needs is not known",
    68: "a host it needs is not known",
    69: "a service it needs is not available",
    70: "an internal error of the program",
    71: "an error of the operating system, such as no more processes",
    72: "a system file is missing or wrong",
    73: "it cannot create its output file",
    74: "an error while reading or writing",
    75: "a failure that may pass; trying again may help",
    76: "the other side answered in a way the protocol does not allow",
    77: "it lacks a permission",
    78: "its configuration is wrong",
    124: "a time limit ran out (timeout)",
    125: "the tool that starts the program failed itself (docker, timeout, env)",
    126: "the command was found but cannot be executed (permission, or not a program)",
    127: "the shell did not find the command",
    128: "it ended with a code that is not valid",
    255: "an error without a code of its own (-1)",
}

# What a runtime says with its codes, by the name of the executable without its version.
RUNTIME_CODES: dict[str, dict[int, str]] = {
    "java": {1: "an exception nobody caught, or the JVM could not start; its log should say which"},
    "node": {
        1: "an exception nobody caught; its log should say which",
        3: "Node.js could not read its own code",
        5: "a fatal error in V8",
        7: "the handler of uncaught errors failed itself",
        9: "an option Node.js does not know",
        12: "a wrong debugger option",
        13: "a top-level await that never settled",
    },
    "python": {
        1: "an exception nobody caught; its log should say which",
        2: "wrong arguments, or the script cannot be opened",
        120: "Python could not write out its last output",
    },
    "ssh": {255: "the connection failed"},
}

# The ends of signals that a shell, or a program with a handler, hands on as 128 + number.
HANDED_ON: dict[int, str] = {
    130: "it was interrupted, as by Ctrl+C",
    134: "it gave up by itself after a fatal error (Node.js: no heap memory left; Java: a crash of the JVM)",
    137: "ended by force, often for want of memory (in a container: its memory limit)",
    143: "it was asked to end and did so (Java always ends like this)",
}

NTSTATUS: dict[int, str] = {
    0x40010004: "ended by a debugger, or by logging off",
    0x80000003: "it ran into a breakpoint",
    0xC0000005: "it touched memory that is not its own (access violation)",
    0xC0000006: "a page could not be read back (disk or network drive failing)",
    0xC0000017: "not enough memory",
    0xC000001D: "it came to an instruction this processor does not know",
    0xC0000022: "access denied",
    0xC0000094: "it divided by zero",
    0xC00000FD: "its stack overflowed (endless recursion?)",
    0xC000012D: "the system ran out of memory to promise (page file too small)",
    0xC0000135: "a DLL it needs was not found",
    0xC0000138: "a DLL it needs has not the function asked for",
    0xC0000139: "a DLL it needs has not the function asked for",
    0xC000013A: "it was interrupted by Ctrl+C, or its window was closed",
    0xC0000142: "a DLL it needs could not start",
    0xC0000374: "its heap memory is damaged",
    0xC0000409: "it stopped itself after a fatal error (stack overrun or fail-fast)",
    0xC000041D: "an exception in a callback nobody handled",
    0xE0434352: "a .NET exception nobody caught",
    0xE06D7363: "a C++ exception nobody caught",
}
_ALIASES = {"nodejs": "node", "pypy": "python", "pythonw": "python", "javaw": "java"}
NOT_SEEN = "It ended while nobody looked; how is not known"
OUT_OF_MEMORY = "Killed by the kernel because memory ran out (out-of-memory killer)"


def exit_meaning(
    exit_code: int | None, exit_signal: str | None, out_of_memory: bool = False, executable: str = ""
) -> str:
    """One sentence without a full stop. `exit_signal` is a name like `SIGSEGV`; both None when nobody saw it.

    `executable`, a name or path, tells what a code means that each runtime uses in its own way.
    """
    if out_of_memory:
        return OUT_OF_MEMORY
    if exit_signal:
        return _signal_meaning(exit_signal)
    return NOT_SEEN if exit_code is None else _code_meaning(exit_code, executable)


def _signal_meaning(given: str) -> str:
    name = "SIG" + given.upper().removeprefix("SIG")
    meaning = SIGNAL_MEANINGS.get(name)
    return f"Killed by {name}: {meaning}" if meaning else f"Killed by {name}"


def _code_meaning(code: int, executable: str) -> str:
    if code == 0:
        return "Ended normally (exit code 0)"
    if not 0 <= code <= 255:
        return _windows_meaning(code & 0xFFFFFFFF)
    if meaning := _runtime_codes(executable).get(code) or EXIT_CODES.get(code):
        return f"Exit code {code}: {meaning}"
    if (number := code - 128) in SIGNALS:
        name, meaning = SIGNALS[number]
        return f"Exit code {code} (128+{number}, {name}): {HANDED_ON.get(code, meaning)}"
    return f"Exit code {code}: the program's own; its manual or log should say more"


def _runtime_codes(executable: str) -> dict[int, str]:
    """Of `/usr/bin/python3.11` those of python."""
    name = PurePath(executable).name.lower().removesuffix(".exe").rstrip("0123456789.")
    return RUNTIME_CODES.get(_ALIASES.get(name, name), {})


def _windows_meaning(code: int) -> str:
    meaning = NTSTATUS.get(code, "a status of Windows or of the program itself")
    return f"Exit code 0x{code:08X}: {meaning}"
