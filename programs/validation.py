"""What makes a definition valid. Field validators, then the rules that need several fields or the database.

Every message says what is wrong and what would be right. The same rules serve the API, the admin, the commands
and imports, because they hang on the model.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from django.core.exceptions import ValidationError
from django.utils import timezone

from .placeholders import PlaceholderError, fill

if TYPE_CHECKING:
    from .models import Program

PROBE_KINDS = ("http", "tcp", "exec", "log")
PROBE_PURPOSES = ("liveness", "readiness")
STEP_KINDS = ("stdin", "signal", "command", "http")
LOG_MIN_BYTES = 64 * 1024
RESERVED_VARIABLE = "PROGRAM_MONITOR"


def name(value: str) -> None:
    if value != value.strip() or re.search(r"[\x00-\x1f\x7f/]", value) or value in {".", ".."}:
        raise ValidationError("A name may not begin or end with a space, or hold a slash or a control character.")


def positive(value: float) -> None:
    if value <= 0:
        raise ValidationError("Must be above 0.")


def seconds(value: float) -> None:
    if not 0 <= value <= 31_536_000:
        raise ValidationError("Must be between 0 and 31,536,000 seconds (a year).")


def factor(value: float) -> None:
    if not 1 <= value <= 100:
        raise ValidationError("Must be between 1 and 100.")


def share(value: float) -> None:
    if not 0 <= value <= 1:
        raise ValidationError("Must be between 0 and 1.")


def nice(value: int) -> None:
    if not -20 <= value <= 19:
        raise ValidationError("Must be between -20 (first served) and 19 (last served).")


def umask(value: str) -> None:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValidationError("Write three octal digits, for example 022.")


def log_size(value: int) -> None:
    if value < LOG_MIN_BYTES:
        raise ValidationError(f"Must be at least {LOG_MIN_BYTES} bytes.")


def cron(value: str) -> None:
    try:
        CronSim(value, timezone.now())
    except CronSimError as error:
        raise ValidationError(f"Not a cron expression: {error}. Example: 0 4 * * * (daily at 04:00).") from error


def tags(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ValidationError("Must be a list of words.")
    for tag in value:
        if not re.fullmatch(r"[^\s,\"\\\x00-\x1f]{1,50}", tag):
            raise ValidationError(f"{tag!r} is no tag: 1 to 50 characters without space, comma or quote.")
    if len(set(value)) != len(value):
        raise ValidationError("A tag stands twice.")


def exit_codes(value: Any) -> None:
    if not isinstance(value, list) or not all(type(code) is int and 0 <= code <= 255 for code in value):
        raise ValidationError("Must be a list of numbers between 0 and 255.")


def environment(value: Any) -> None:
    """A list of `{"name", "value"}`, or of `{"name", "secret": true, "encrypted"}` once stored."""
    if not isinstance(value, list):
        raise ValidationError('Must be a list of {"name": …, "value": …}.')
    seen = set()
    for entry in value:
        _environment_entry(entry)
        if entry["name"] in seen:
            raise ValidationError(f"{entry['name']} stands twice.")
        seen.add(entry["name"])


def _environment_entry(entry: Any) -> None:
    if not isinstance(entry, dict) or not entry.keys() <= {"name", "value", "secret", "encrypted"}:
        raise ValidationError('Each entry is {"name": …, "value": …}, with "secret": true to hide the value.')
    variable = entry.get("name")
    if not isinstance(variable, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise ValidationError(f"{variable!r} is no variable name: letters, digits and _ only.")
    if variable == RESERVED_VARIABLE:
        raise ValidationError(f"{RESERVED_VARIABLE} is the monitor's own mark.")
    if not isinstance(entry.get("encrypted" if entry.get("secret") else "value"), str):
        raise ValidationError(f"{variable} has no value.")
    if "\x00" in entry.get("value", ""):
        raise ValidationError(f"{variable} holds a NUL character.")


def signal_number(text: str) -> int:
    """`TERM`, `SIGTERM` or `15` as a number. Raises ValidationError."""
    if re.fullmatch(r"[0-9]{1,3}", text) and int(text) in {known.value for known in signal.Signals}:
        return int(text)
    try:
        return signal.Signals["SIG" + text.upper().removeprefix("SIG")].value
    except KeyError:
        raise ValidationError(f"{text!r} is no signal of this system; examples: TERM, INT, QUIT, HUP.") from None


def stop_ladder(value: Any) -> None:
    if not isinstance(value, list):
        raise ValidationError('Must be a list of {"step": …, "seconds": …}.')
    for step in value:
        if not isinstance(step, dict) or step.keys() != {"step", "seconds"} or not isinstance(step["step"], str):
            raise ValidationError('Each step is {"step": "signal:TERM", "seconds": 10}.')
        if type(step["seconds"]) not in (int, float) or not 0 <= step["seconds"] <= 3600:
            raise ValidationError(f"{step['step']}: seconds must be between 0 and 3600.")
        _stop_step(step["step"])


def _stop_step(text: str) -> None:
    kind, _, argument = text.partition(":")
    if kind not in STEP_KINDS or not argument:
        raise ValidationError(f"{text!r} is no step; write {', '.join(f'{k}:…' for k in STEP_KINDS)}.")
    if kind == "signal":
        signal_number(argument)
    elif kind == "command":
        words(argument)
    elif kind == "http":
        http_url(argument)


def http_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that hold no address
        is_sound = False
    if not is_sound:
        raise ValidationError(f"{text!r} is no web address; write http://host:port/path.")


def probes(value: Any) -> None:
    """A list of `{"kind", "purpose", "target", "period", "timeout", "failures"}`; the last three have defaults."""
    if not isinstance(value, list):
        raise ValidationError("Must be a list of probes.")
    for probe in value:
        if not isinstance(probe, dict) or not {"kind", "target"} <= probe.keys() <= _PROBE_RULES.keys():
            raise ValidationError(f"A probe has kind and target, and may have {', '.join(_PROBE_RULES)}.")
        for key, given in probe.items():
            if not _PROBE_RULES[key](given):
                raise ValidationError(f"A probe's {key} cannot be {given!r}.")
        _PROBE_TARGETS[probe["kind"]](probe["target"])


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda given: type(given) in (int, float) and low <= given <= high


_PROBE_RULES: dict[str, Callable[[Any], bool]] = {
    "kind": lambda given: given in PROBE_KINDS,
    "purpose": lambda given: given in PROBE_PURPOSES,
    "target": lambda given: isinstance(given, str) and bool(given.strip()),
    "period": _number(1, 86_400),
    "timeout": _number(0.1, 300),
    "failures": lambda given: type(given) is int and 1 <= given <= 1000,
}


def tcp_target(text: str) -> None:
    host, _, port = text.rpartition(":")
    if not host or not (port.isdigit() or "{instance" in port):
        raise ValidationError(f"{text!r} is no address; write host:port, for example 127.0.0.1:6379.")


def words(command: str) -> list[str]:
    """The words of a command. Raises ValidationError when its quotes do not close or it is empty."""
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise ValidationError(f"The command cannot be split into words: {error}.") from error
    if not parts or not parts[0]:
        raise ValidationError("The command is empty.")
    return parts


_PROBE_TARGETS: dict[str, Callable[[str], Any]] = {
    "http": http_url,
    "tcp": tcp_target,
    "exec": words,
    "log": lambda text: None,
}


def definition(program: Program) -> None:
    """The rules over several fields. Raises one ValidationError that names every field at fault."""
    errors: dict[str, Any] = {}
    for field, rule in _RULES.items():
        try:
            rule(program)
        except ValidationError as error:
            errors[field] = error.messages
    if errors:
        raise ValidationError(errors)


def _command(program: Program) -> None:
    if "\x00" in program.command:
        raise ValidationError("The command holds a NUL character.")
    if not program.shell:
        words(program.command)
    elif not program.command.strip():
        raise ValidationError("The command is empty.")
    _placeholders(program.command)


def _placeholders(text: str) -> None:
    try:
        fill(text, 0)
    except PlaceholderError as error:
        raise ValidationError(str(error)) from error


def _is_local(program: Program) -> bool:
    from .hosts import is_local

    return is_local(program.host)


def _working_directory(program: Program) -> None:
    folder = program.working_directory
    if folder and not os.path.isabs(folder):  # noqa: PTH117  (a string test; Path would drop a trailing slash)
        raise ValidationError("Write the whole path, from the root.")
    if folder and _is_local(program) and not os.path.isdir(folder):  # noqa: PTH112
        raise ValidationError(f"There is no folder {folder}.")


def _user(program: Program) -> None:
    if not program.user or not _is_local(program):
        return
    if os.name != "posix":
        raise ValidationError("Running as another user works on Unix systems only.")
    import pwd

    try:
        account = pwd.getpwnam(program.user)
    except KeyError:
        raise ValidationError(f"There is no user {program.user} on this machine.") from None
    if os.geteuid() not in (0, account.pw_uid):
        raise ValidationError("Only a monitor that runs as root can start programs as another user.")


def _environment(program: Program) -> None:
    for entry in program.environment if isinstance(program.environment, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("value"), str):
            _placeholders(entry["value"])


def _stop_ladder(program: Program) -> None:
    steps = program.stop_ladder if isinstance(program.stop_ladder, list) else []
    texts = [step.get("step", "") for step in steps if isinstance(step, dict)]
    for text in texts:
        _placeholders(str(text))
    if program.stdin != "console" and any(str(text).startswith("stdin:") for text in texts):
        raise ValidationError("A stdin step needs stdin set to console.")


def _probes(program: Program) -> None:
    for probe in program.probes if isinstance(program.probes, list) else []:
        if isinstance(probe, dict):
            _placeholders(str(probe.get("target", "")))


def _nice(program: Program) -> None:
    if (
        program.nice is not None
        and program.nice < 0
        and os.name == "posix"
        and os.geteuid()
        and _is_local(program)
    ):
        raise ValidationError("Only a monitor that runs as root can put programs before others.")


def _scaling(program: Program) -> None:
    if (program.instances_max or 0) > 1000:
        raise ValidationError("At most 1000 instances.")
    if (program.instances_max or 0) < 1:
        raise ValidationError("At least 1 instance.")


_RULES: dict[str, Callable[[Program], None]] = {
    "command": _command,
    "working_directory": _working_directory,
    "user": _user,
    "environment": _environment,
    "stop_ladder": _stop_ladder,
    "probes": _probes,
    "nice": _nice,
    "instances_max": _scaling,
}


def no_circle(program_name: str, requires: dict[str, set[str]]) -> None:
    """Refuses a dependency circle. `requires`: each program's name → those it needs, the new ones included."""
    # Each is looked at once, however many ways lead to it, and without a call for each step of a long chain.
    needed_by: dict[str, str] = {}
    left = [program_name]
    while left:
        current = left.pop()
        for needed in sorted(requires.get(current, ()), reverse=True):
            if needed == program_name:
                raise ValidationError(f"A circle: {' needs '.join([*_way(current, needed_by), needed])}.")
            if needed not in needed_by:
                needed_by[needed] = current
                left.append(needed)


def _way(last: str, needed_by: Mapping[str, str]) -> list[str]:
    """The programs from the first one, that is needed by none of these, to `last`."""
    path = [last]
    while path[-1] in needed_by:
        path.append(needed_by[path[-1]])
    return path[::-1]
