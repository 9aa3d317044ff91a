"""systemd service units; Requires, After etc. between several of them become dependencies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from .draft import Draft, Imported, Source, placeholder
from .env_file import add_file
from .systemd_commands import PREFIXES, command_lines, joined, stop_step
from .systemd_units import Unit, Value, seconds, size, split_words, units

ORDER_KEYS = ("After", "Before")
REQUIREMENT_KEYS = ("Requires", "Requisite", "BindsTo", "Wants")
DEPENDENCY_KEYS = ORDER_KEYS + REQUIREMENT_KEYS
RESTART = {
    "no": "never",
    "on-success": "never",
    "always": "always",
    "on-failure": "on-failure",
    **dict.fromkeys(("on-abnormal", "on-abort", "on-watchdog"), "on-failure"),
}
TYPES = {
    "forking": "it moves to the background, where it cannot be supervised; keep it in the foreground",
    "oneshot": "it runs once and then counts as exited",
    **dict.fromkeys(
        ("notify", "notify-reload", "dbus"), "readiness notifications are not supported; use a readiness probe"
    ),
}
SYSEXITS = [
    "USAGE", "DATAERR", "NOINPUT", "NOUSER", "NOHOST", "UNAVAILABLE", "SOFTWARE", "OSERR", "OSFILE", "CANTCREAT",
    "IOERR", "TEMPFAIL", "PROTOCOL", "NOPERM", "CONFIG",
]  # fmt: skip
FIRST_SYSEXIT = 64
AT_BOOT = {"multi-user.target", "default.target", "graphical.target"}
HARDENING = re.compile(
    "Protect|Private|Restrict|NoNewPrivileges|Capabilit|AmbientCapabilities|SystemCall|ReadOnly|"
    "ReadWrite|Inaccessible|MemoryDeny|LockPersonality|RemoveIPC|DynamicUser|Device|IPAddress|RootDirectory"
)
MAX_STOP_SECONDS = 3600


@dataclass
class Service:
    """`unknown` collects specifiers without a value."""

    unit: Unit
    draft: Draft
    unknown: set[str] = field(default_factory=set)

    def fill(self, text: str) -> str:
        return self.unit.fill(text, self.unknown)


Rule = Callable[[Service, str, list[Value]], None]


def read(sources: Sequence[Source]) -> Imported:
    imported = Imported()
    services = [_service(unit) for source in sources for unit in units(source)]
    set_dependencies([(service.unit, service.draft) for service in services])
    for service in services:
        imported.add(service.draft)
    return imported


def _service(unit: Unit) -> Service:
    if not unit.values("Service", "ExecStart"):
        raise unit.source.error(f"{unit.name} has no ExecStart in a section [Service]")
    service = Service(unit, Draft(unit.program))
    service.draft.set("restart_policy", "never")
    for (section, key), values in sorted(unit.keys.items(), key=lambda pair: ORDER.get(pair[0], len(ORDER))):
        rule = RULES.get((section, key), _no_counterpart)
        try:
            if values:
                rule(service, key, values)
        except ValueError as error:
            raise unit.source.error(f"{key}: {error}", values[-1].line) from error
    for specifier in sorted(service.unknown):
        service.draft.note(f"{specifier}: its value is unknown, so it was not replaced")
    if unit.stem.endswith("@"):
        service.draft.note("a template: %i became {instance}, which counts from 0; {instance+N} counts from N")
    return service


def _no_counterpart(service: Service, key: str, values: list[Value]) -> None:
    why = "the program runs without this protection" if HARDENING.match(key) else "there is no equivalent here"
    service.draft.dropped(f"{key}={values[-1].text[:200]}", why)


def _read_elsewhere(service: Service, key: str, values: list[Value]) -> None:
    """The key is read together with another one."""


def _dropped_unless(harmless: set[str], why: str) -> Rule:
    def rule(service: Service, key: str, values: list[Value]) -> None:
        if values[-1].text not in harmless:
            service.draft.dropped(f"{key}={values[-1].text[:200]}", why)

    return rule


def _dropped(why: str) -> Rule:
    return _dropped_unless(set(), why)


def _text(field_name: str) -> Rule:
    return lambda service, key, values: service.draft.set(field_name, service.fill(values[-1].text))


def _description(service: Service, key: str, values: list[Value]) -> None:
    # All instances share one description, so it supports no placeholder.
    text = service.fill(values[-1].text).replace(placeholder(0), "")
    service.draft.set("description", text.strip())


def _exec_start(service: Service, key: str, values: list[Value]) -> None:
    lines = command_lines([Value(service.fill(value.text), value.line) for value in values])
    command, shell = joined(lines)
    service.draft.fields |= {"command": command, "shell": shell}
    for prefix in sorted({prefix for line in lines for prefix in line.prefixes} & PREFIXES.keys()):
        service.draft.note(f"{key}={prefix}…: {PREFIXES[prefix]}")


def _exec_stop(service: Service, key: str, values: list[Value]) -> None:
    wait = _stop_seconds(service)
    for line in command_lines([Value(service.fill(value.text), value.line) for value in values]):
        if step := stop_step(line):
            service.draft.stop_first(step, wait)
        else:
            service.draft.dropped(f"{key}={' '.join(line.words)}", "a step of stop_ladder supports no variables")


def _stop_seconds(service: Service) -> float:
    given = service.unit.last("Service", "TimeoutStopSec") or service.unit.last("Service", "TimeoutSec")
    if not given:
        return 10  # the default of the stop ladder
    return seconds(given) or MAX_STOP_SECONDS


def _stop_timeout(service: Service, key: str, values: list[Value]) -> None:
    wait = seconds(values[-1].text)
    if not wait:
        service.draft.note(f"{key}={values[-1].text}: stopping waits one hour at most")
    service.draft.stop_with(seconds=_stop_seconds(service))


def _working_directory(service: Service, key: str, values: list[Value]) -> None:
    folder = service.fill(values[-1].text)
    if folder == "~" or "{instance" in folder or "%" in folder:
        service.draft.dropped(f"{key}={values[-1].text}", "use an absolute path without variables")
        return
    if folder.startswith("-"):
        service.draft.note(f"{key}={folder}: the folder must exist")
    service.draft.set("working_directory", folder.lstrip("-"))


def _environment(service: Service, key: str, values: list[Value]) -> None:
    for value in values:
        for word in split_words(service.fill(value.text)):
            name, equals, text = word.partition("=")
            if equals:
                service.draft.variable(name, text)
            else:
                service.draft.dropped(f"{key}={word}", "expected NAME=value")


def _environment_file(service: Service, key: str, values: list[Value]) -> None:
    files = service.unit.source.files
    for value in values:
        path = service.fill(value.text).removeprefix("-")
        names = files.glob(path) if re.search(r"[*?\[]", path) else []
        for name in names or [path]:
            if add_file(service.draft, files, name, key=key):
                service.draft.note(f"{key}={name}: copied; later changes have no effect")


def _umask(service: Service, key: str, values: list[Value]) -> None:
    if not re.fullmatch(r"0?[0-7]{1,3}", values[-1].text):
        raise ValueError("must be octal digits, for example 0022")
    service.draft.set("umask", values[-1].text.zfill(3))


def _whole(text: str, minimum: int, maximum: int) -> int:
    if not re.fullmatch(r"[+-]?\d{1,9}", text) or not minimum <= int(text) <= maximum:
        raise ValueError(f"{text!r} is not a number from {minimum} to {maximum}")
    return int(text)


def _open_files(service: Service, key: str, values: list[Value]) -> None:
    soft, _, hard = values[-1].text.partition(":")
    if hard and hard != soft:
        service.draft.note(f"{key}={values[-1].text}: the first number is used as a fixed limit")
    limit = size(soft)
    if limit is None:
        service.draft.dropped(f"{key}={values[-1].text}", "unlimited is not supported")
    else:
        service.draft.set("max_open_files", limit)


def _memory(service: Service, key: str, values: list[Value]) -> None:
    text = values[-1].text
    limit = None if text.endswith("%") else size(text)
    if limit is None:
        service.draft.dropped(f"{key}={text}", "the limit must be a number of bytes")
        return
    service.draft.set("max_memory_bytes", limit)
    service.draft.note(f"{key}: became max_memory_bytes, which restarts the program instead of limiting it")


def _restart(service: Service, key: str, values: list[Value]) -> None:
    text = values[-1].text
    if text not in RESTART:
        raise ValueError(f"{text!r} is not one of {', '.join(RESTART)}")
    service.draft.set("restart_policy", RESTART[text])
    if text not in RESTART.values() and text != "no":
        service.draft.note(f"{key}={text}: became {RESTART[text]}, the closest equivalent")


def _restart_sec(service: Service, key: str, values: list[Value]) -> None:
    delay = seconds(values[-1].text)
    if delay is None:
        raise ValueError("infinity is not supported; set Restart=no")
    service.draft.fields |= {"backoff_initial": delay, "backoff_factor": 1, "backoff_max": max(delay, 300)}


def _growing_delay(service: Service, key: str, values: list[Value]) -> None:
    steps = _whole(service.unit.last("Service", "RestartSteps") or "0", 0, 1000)
    first = service.draft.fields.get("backoff_initial", 0.1)
    last = seconds(values[-1].text)
    if not steps or last is None or not 0 < first <= last:
        service.draft.dropped(f"{key}={values[-1].text}", "it needs RestartSteps and a smaller RestartSec")
        return
    factor = min(round((last / first) ** (1 / steps), 3), 100)
    service.draft.fields |= {"backoff_initial": first, "backoff_factor": factor, "backoff_max": last}


def _success(service: Service, key: str, values: list[Value]) -> None:
    codes = [0]
    for word in " ".join(value.text for value in values).split():
        if word in SYSEXITS:
            codes.append(FIRST_SYSEXIT + SYSEXITS.index(word))
        elif word.isdigit():
            codes.append(_whole(word, 0, 255))
        else:
            service.draft.dropped(f"{key}={word}", "only exit codes can count as success, not signals")
    service.draft.set("success_exit_codes", list(dict.fromkeys(codes)))


def _limit_interval(service: Service, key: str, values: list[Value]) -> None:
    window = seconds(values[-1].text)
    if window == 0:
        service.draft.set("max_restarts", 0)
    elif window is None:
        service.draft.dropped(f"{key}=infinity", "an unlimited window is not supported")
    else:
        service.draft.set("restart_window", window)


def _limit_burst(service: Service, key: str, values: list[Value]) -> None:
    service.draft.set("max_restarts", _whole(values[-1].text, 0, 1_000_000))


def _type(service: Service, key: str, values: list[Value]) -> None:
    if values[-1].text == "oneshot":
        service.draft.fields |= {"restart_policy": "never", "start_seconds": 0}
    if why := TYPES.get(values[-1].text):
        service.draft.note(f"{key}={values[-1].text}: {why}")


def _install(service: Service, key: str, values: list[Value]) -> None:
    names = {word for value in values for word in value.text.split()}
    if not names <= AT_BOOT:
        service.draft.dropped(f"{key}={' '.join(sorted(names))}", "it starts with the monitor; see autostart")


RULES: dict[tuple[str, str], Rule] = {
    ("Unit", "Description"): _description,
    **{("Unit", key): _read_elsewhere for key in DEPENDENCY_KEYS},
    ("Service", "ExecStart"): _exec_start,
    ("Service", "Environment"): _environment,
    ("Service", "EnvironmentFile"): _environment_file,
    ("Service", "WorkingDirectory"): _working_directory,
    ("Service", "User"): _text("user"),
    ("Service", "Group"): _dropped("a program runs with the groups of its user"),
    ("Service", "UMask"): _umask,
    ("Service", "Nice"): lambda service, key, values: service.draft.set("nice", _whole(values[-1].text, -20, 19)),
    ("Service", "LimitNOFILE"): _open_files,
    ("Service", "MemoryMax"): _memory,
    ("Service", "Restart"): _restart,
    ("Service", "RestartSec"): _restart_sec,
    ("Service", "RestartSteps"): _read_elsewhere,
    ("Service", "RestartMaxDelaySec"): _growing_delay,
    ("Service", "SuccessExitStatus"): _success,
    **{(section, "StartLimitBurst"): _limit_burst for section in ("Service", "Unit")},
    **{(section, "StartLimitInterval"): _limit_interval for section in ("Service", "Unit")},
    ("Unit", "StartLimitIntervalSec"): _limit_interval,
    ("Service", "KillSignal"): lambda service, key, values: service.draft.stop_with(signal=values[-1].text),
    ("Service", "TimeoutSec"): _stop_timeout,
    ("Service", "TimeoutStopSec"): _stop_timeout,
    ("Service", "ExecStop"): _exec_stop,
    ("Service", "Type"): _type,
    ("Service", "KillMode"): _dropped_unless(
        {"control-group", "mixed"}, "the final SIGKILL always reaches the whole process tree"
    ),
    ("Service", "SendSIGKILL"): _dropped_unless({"yes", "true", "1", "on"}, "the last step is always SIGKILL"),
    ("Service", "StandardInput"): _dropped_unless({"null"}, "stdin can only be null or console"),
    **{
        ("Service", key): _dropped_unless({"journal", "inherit"}, "the monitor stores the log")
        for key in ("StandardOutput", "StandardError")
    },
    ("Service", "SyslogIdentifier"): _dropped("the monitor stores the log"),
    ("Install", "WantedBy"): _install,
    ("Install", "RequiredBy"): _install,
}
# Later rules override earlier ones, so the order matters.
ORDER = {key: index for index, key in enumerate(RULES)}


def set_dependencies(services: Sequence[tuple[Unit, Draft]]) -> None:
    """Sets `depends_on` of each draft; adds a note for unknown units and for circular dependencies."""
    drafts = {unit.name: draft for unit, draft in services}
    needs: dict[str, list[str]] = {name: [] for name in drafts}
    # Order first: when a requirement contradicts the order, the order wins.
    for keys in (ORDER_KEYS, REQUIREMENT_KEYS):
        for unit, draft in services:
            for key, other in _named_units(unit, keys):
                _add(needs, drafts, unit, draft, key, other)
    for name, draft in drafts.items():
        if needs[name]:
            wanted = [{"program": drafts[other].name, "condition": "started"} for other in needs[name]]
            draft.set("depends_on", wanted)


def _named_units(unit: Unit, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key in keys:
        for name in unit.listed("Unit", key):
            yield key, unit.fill(name, set())


def _add(
    needs: dict[str, list[str]], drafts: dict[str, Draft], unit: Unit, draft: Draft, key: str, other: str
) -> None:
    if other not in drafts:
        draft.dropped(f"{key}={other}", "it is not among the imported units")
        return
    later, earlier = (other, unit.name) if key == "Before" else (unit.name, other)
    if later == earlier or _reaches(needs, earlier, later):
        draft.dropped(f"{key}={other}", "it would make the dependencies circular")
    elif earlier not in needs[later]:
        needs[later].append(earlier)


def _reaches(needs: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        current = waiting.pop()
        if current == goal:
            return True
        if current not in seen:
            seen.add(current)
            waiting += needs[current]
    return False
