"""Configuration of Supervisor: `[program:x]`, `[group:x]`, `[supervisord]` and `[include]`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from .draft import Draft, Imported, Source, gathered
from .supervisor_expansions import Expansions, NumberNotExpressibleError
from .supervisor_ini import FALSE, TRUE, Configuration, Option, Section, include, sections

AUTORESTART = {"unexpected": "on-failure", **dict.fromkeys(TRUE, "always"), **dict.fromkeys(FALSE, "never")}
BOTH_STREAMS = "stdout and stderr go to one log"
ORDER = "depends_on sets the start order"
# Options that programs inherit from [supervisord].
INHERITED = ("user", "umask")
# Sections about the process of Supervisor itself.
OWN_SECTIONS = ("unix_http_server", "inet_http_server", "supervisorctl", "rpcinterface")
MAX_PROCESSES = 1000


def read(sources: Sequence[Source]) -> Imported:
    return gathered(_read_one(source) for source in sources)


def _read_one(source: Source) -> Imported:
    imported = Imported()
    configuration = Configuration()
    for section in sections(source):
        configuration.add(section)
    for section in configuration.of_kind("include"):
        include(section, configuration, imported)
    for section in list(configuration.sections.values()):
        SECTIONS.get(section.kind, _unknown_section)(section, configuration, imported)
    return imported


def _program(section: Section, configuration: Configuration, imported: Imported) -> None:
    section = _with_inherited(section, configuration)
    count = section.number("numprocs", 1, minimum=1, maximum=MAX_PROCESSES)
    start = section.number("numprocs_start", 0)
    numbers = range(start, start + count)
    try:
        imported.add(_definition(section, configuration, numbers, section.name))
    except NumberNotExpressibleError as reason:
        imported.note(f"[{section.title}] became {count} programs: {reason}")
        for number in numbers:
            imported.add(_single(section, configuration, number))


def _with_inherited(section: Section, configuration: Configuration) -> Section:
    inherited = {
        key: value
        for holder in configuration.of_kind("supervisord")
        for key, value in holder.options.items()
        if key in INHERITED
    }
    return replace(section, options={**inherited, **section.options})


def _single(section: Section, configuration: Configuration, number: int) -> Draft:
    """The definition of one process, for a section that uses the process number in a way instances cannot."""
    one = range(number, number + 1)
    scope = Expansions(_values(section, configuration), one)
    name = scope.fill(section.options.get("process_name", f"{section.name}_%(process_num)s"))
    name = name if section.name in name else f"{section.name}-{name}"
    draft = _definition(section, configuration, one, name)
    draft.tag(section.name)
    return draft


def _values(section: Section, configuration: Configuration) -> dict[str, str]:
    groups = configuration.groups_of(section.name)
    return {
        "program_name": section.name,
        "group_name": groups[0] if groups else section.name,
        "numprocs": section.options.get("numprocs", "1"),
    }


def _definition(section: Section, configuration: Configuration, numbers: range, name: str) -> Draft:
    if not section.options.get("command"):
        section.fail("command", "is missing")
    draft = Draft(name)
    scope = Expansions(_values(section, configuration), numbers)
    _environment(draft, section, configuration, scope)
    scope.values = {**scope.values, **{f"ENV_{name}": value for name, value in draft.variables.items()}}
    if len(numbers) > 1:
        draft.instances(len(numbers))
    for key in section.options:
        RULES.get(key, _no_counterpart)(draft, Option(section, key, scope))
    for group in configuration.groups_of(section.name):
        draft.tag(group)
    for unknown in sorted(scope.unknown):
        draft.note(f"%({unknown})s: its value is unknown, so it was not replaced")
    return draft


def _environment(draft: Draft, section: Section, configuration: Configuration, scope: Expansions) -> None:
    # The environment of [supervisord] applies to all programs, and programs can override it.
    for holder in [*configuration.of_kind("supervisord"), section]:
        for name, value, separator in _pairs(scope.fill(holder.options.get("environment", "")), holder):
            draft.variable(name, value)
            if separator != ",":
                draft.dropped(f"environment {separator!r}", "Supervisor also ignores text after a value")


def _pairs(text: str, section: Section) -> Iterator[tuple[str, str, str]]:
    """Parses `KEY="a,b",OTHER=c`. Values with other characters than letters, digits and `_/.+-():` need quotes."""
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():{}"
    try:
        tokens = list(lexer)
    except ValueError as error:
        section.fail("environment", f"{error}".lower())
    for at in range(0, len(tokens), 4):
        name, equals, value, separator = (*tokens[at : at + 4], ",", ",", ",")[:4]
        if equals != "=" or at + 2 >= len(tokens):
            section.fail("environment", 'write KEY="value",OTHER="value"')
        yield name, value.strip("'\""), separator


Rule = Callable[[Draft, Option], None]


def _no_counterpart(draft: Draft, option: Option) -> None:
    draft.dropped(option.key)


def _read_elsewhere(draft: Draft, option: Option) -> None:
    """The key is read together with another one."""


def _dropped(why: str) -> Rule:
    return lambda draft, option: draft.dropped(option.key, why)


def _dropped_unless(harmless: bool, why: str) -> Rule:
    def rule(draft: Draft, option: Option) -> None:
        if option.boolean() is not harmless:
            draft.dropped(option.key, why)

    return rule


def _directory(draft: Draft, option: Option) -> None:
    folder = option.filled_fixed()
    if (path := option.section.source.absolute(folder)) is None:
        draft.dropped(f"{option.key} {folder}", "it is not absolute")
        return
    draft.set("working_directory", path)


def _autorestart(draft: Draft, option: Option) -> None:
    if option.text.lower() not in AUTORESTART:
        option.fail(f"{option.text!r} is not one of true, false, unexpected")
    draft.set("restart_policy", AUTORESTART[option.text.lower()])


def _exitcodes(draft: Draft, option: Option) -> None:
    codes = [code.strip() for code in option.text.split(",") if code.strip()]
    if not all(re.fullmatch(r"\d{1,3}", code) and int(code) <= 255 for code in codes):
        option.fail("must be comma-separated numbers from 0 to 255")
    draft.set("success_exit_codes", [int(code) for code in codes])


def _startretries(draft: Draft, option: Option) -> None:
    tries = option.number()
    draft.set("max_restarts", max(tries, 1))
    minimum = "; 0 became 1, because 0 means unlimited here" if tries == 0 else ""
    draft.note(f"{option.key}: became max_restarts, which counts every restart, not only failed starts{minimum}")


def _umask(draft: Draft, option: Option) -> None:
    if not re.fullmatch(r"0?[0-7]{1,3}", option.text):
        option.fail("must be octal digits, for example 022")
    draft.set("umask", option.text.zfill(3))


def _process_name(draft: Draft, option: Option) -> None:
    if len(option.scope.numbers) > 1 or option.filled() not in (draft.name, option.section.name):
        draft.dropped(option.key, f"instances are named {draft.name}:0, {draft.name}:1 and so on")


RULES: dict[str, Rule] = {
    "command": lambda draft, option: draft.set("command", option.filled()),
    "environment": _read_elsewhere,
    "numprocs": _read_elsewhere,
    "numprocs_start": _read_elsewhere,
    "process_name": _process_name,
    "directory": _directory,
    "user": lambda draft, option: draft.set("user", option.filled_fixed()),
    "umask": _umask,
    "autostart": lambda draft, option: draft.set("autostart", option.boolean()),
    "autorestart": _autorestart,
    "exitcodes": _exitcodes,
    "startsecs": lambda draft, option: draft.set("start_seconds", option.number()),
    "startretries": _startretries,
    "stopsignal": lambda draft, option: draft.stop_with(signal=option.text),
    "stopwaitsecs": lambda draft, option: draft.stop_with(seconds=option.number()),
    "stopasgroup": _dropped_unless(False, "the final SIGKILL always reaches the whole process tree"),
    "killasgroup": _dropped_unless(True, "the final SIGKILL always reaches the whole process tree"),
    "redirect_stderr": _dropped_unless(True, BOTH_STREAMS),
    "stdout_logfile": _dropped("the monitor stores the log"),
    "stdout_logfile_maxbytes": lambda draft, option: draft.log_size(option.key, option.size()),
    "stdout_logfile_backups": lambda draft, option: draft.set("log_backups", option.number(maximum=32767)),
    "stderr_logfile": _dropped(BOTH_STREAMS),
    "stderr_logfile_maxbytes": _dropped(BOTH_STREAMS),
    "stderr_logfile_backups": _dropped(BOTH_STREAMS),
    "priority": _dropped(ORDER),
}

SectionReader = Callable[[Section, Configuration, Imported], None]


def _group(section: Section, configuration: Configuration, imported: Imported) -> None:
    names = [name.strip() for name in section.options.get("programs", "").split(",")]
    for name in filter(None, names):
        if f"program:{name}" not in configuration.sections:
            imported.note(f"[{section.title}] names {name}, which is not defined")
    for key in section.options.keys() - {"programs"}:
        imported.note(f"[{section.title}] {key}: not imported, {ORDER}")


def _supervisord(section: Section, configuration: Configuration, imported: Imported) -> None:
    for key in sorted(section.options.keys() - {"environment", *INHERITED}):
        imported.note(f"[supervisord] {key}: not imported, it is about Supervisor itself")


def _not_a_program(section: Section, configuration: Configuration, imported: Imported) -> None:
    imported.note(f"[{section.title}]: not imported, it is about Supervisor itself")


def _unknown_section(section: Section, configuration: Configuration, imported: Imported) -> None:
    imported.note(f"[{section.title}]: not imported, there is no equivalent here")


def _already_read(section: Section, configuration: Configuration, imported: Imported) -> None:
    """[include] is read first."""


SECTIONS: dict[str, SectionReader] = {
    "program": _program,
    "group": _group,
    "include": _already_read,
    "supervisord": _supervisord,
    **dict.fromkeys(OWN_SECTIONS, _not_a_program),
}
