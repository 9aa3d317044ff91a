"""Converts the command lines of ExecStart and ExecStop."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from .systemd_units import Value, has_variables, shell_word, split_words

PREFIXES = {
    "-": "a failure does not count as success; see success_exit_codes",
    "@": "argv[0] is the name of the executable",
    "+": "it runs as its user without elevated privileges",
    "!": "it runs as its user without elevated privileges",
    "|": "it runs without a login shell",
}
KILL = re.compile(r"(?:/usr)?(?:/bin/)?kill")
MAIN_PID = ("$MAINPID", "${MAINPID}")


@dataclass
class CommandLine:
    """The words and the prefixes of one command."""

    words: list[str]
    prefixes: str = ""
    unknown: set[str] = field(default_factory=set)

    @property
    def needs_shell(self) -> bool:
        return ":" not in self.prefixes and any(has_variables(word) for word in self.words)

    def text(self, *, for_shell: bool) -> str:
        if ":" in self.prefixes:
            return shlex.join(self.words)
        if for_shell:
            return " ".join(map(shell_word, self.words))
        return shlex.join(word.replace("$$", "$") for word in self.words)


def command_lines(values: list[Value]) -> list[CommandLine]:
    found = []
    for value in values:
        for part in re.split(r"\s;\s", value.text):
            text = part.strip()
            rest = text.lstrip("-@:+!|")
            prefixes = text[: len(text) - len(rest)]
            words = split_words(rest)
            if "@" in prefixes and len(words) > 1:
                del words[1]
            if not words:
                raise ValueError("the command is empty")
            found.append(CommandLine(words, prefixes))
    return found


def joined(lines: list[CommandLine]) -> tuple[str, bool]:
    """The command and whether it needs a shell (for variables or several commands)."""
    if len(lines) > 1:
        return " && ".join(line.text(for_shell=True) for line in lines), True
    line = lines[0]
    # With exec the process is the program itself, not a shell that waits for it.
    return ("exec " if line.needs_shell else "") + line.text(for_shell=line.needs_shell), line.needs_shell


def stop_step(line: CommandLine) -> str | None:
    """A step of the stop ladder; `kill -s QUIT $MAINPID` becomes a signal. None for an unsupported command."""
    if KILL.fullmatch(line.words[0]) and line.words[-1] in MAIN_PID:
        options = " ".join(line.words[1:-1])
        found = re.fullmatch(r"(?:-s |--signal[= ]|-)?(?:SIG)?([A-Z0-9]+)?", options)
        return f"signal:{found[1] or 'TERM'}" if found else None
    if line.needs_shell:
        return None
    return f"command:{line.text(for_shell=False)}"
