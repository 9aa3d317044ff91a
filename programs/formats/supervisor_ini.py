"""Sections and values of Supervisor's configuration files."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from .draft import Imported, Source
from .supervisor_expansions import Expansions

BYTES = {"KB": 1024, "MB": 1024**2, "GB": 1024**3}
TRUE = ("yes", "true", "on", "1")
FALSE = ("no", "false", "off", "0")


@dataclass(frozen=True)
class Section:
    kind: str  # "program" of [program:web]
    name: str  # "web"
    options: dict[str, str]
    source: Source

    @property
    def title(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def fail(self, key: str, message: str) -> NoReturn:
        raise self.source.error(f"[{self.title}] {key}: {message}", _line_of(self.source.text, self.title, key))

    def number(self, key: str, default: int = 0, *, minimum: int = 0, maximum: int = 2**31 - 1) -> int:
        text = self.options.get(key, str(default))
        if not re.fullmatch(r"-?\d{1,12}", text) or not minimum <= int(text) <= maximum:
            self.fail(key, f"{text!r} is not a number from {minimum} to {maximum}")
        return int(text)


@dataclass(frozen=True)
class Option:
    """One key of a section. The conversions raise FormatError."""

    section: Section
    key: str
    scope: Expansions

    @property
    def text(self) -> str:
        return self.section.options[self.key]

    def fail(self, message: str) -> NoReturn:
        self.section.fail(self.key, message)

    def number(self, *, maximum: int = 2**31 - 1) -> int:
        return self.section.number(self.key, maximum=maximum)

    def boolean(self) -> bool:
        if self.text.lower() not in TRUE + FALSE:
            self.fail(f"{self.text!r} is neither true nor false")
        return self.text.lower() in TRUE

    def size(self) -> int:
        found = re.fullmatch(r"(\d{1,15})\s*([KMG]B)?", self.text, re.IGNORECASE)
        if found is None:
            self.fail(f"{self.text!r} is not a size; use for example 50MB")
        return int(found[1]) * BYTES.get((found[2] or "").upper(), 1)

    def filled(self) -> str:
        return self.scope.fill(self.text)

    def filled_fixed(self) -> str:
        return self.scope.fill_fixed(self.text)


@dataclass
class Configuration:
    """The sections of a file and its includes; later options replace earlier ones."""

    sections: dict[str, Section] = field(default_factory=dict)

    def add(self, section: Section) -> None:
        before = self.sections.get(section.title)
        options = {**(before.options if before else {}), **section.options}
        self.sections[section.title] = Section(section.kind, section.name, options, section.source)

    def of_kind(self, kind: str) -> list[Section]:
        return [section for section in self.sections.values() if section.kind == kind]

    def groups_of(self, program: str) -> list[str]:
        return [
            group.name
            for group in self.of_kind("group")
            if program in [name.strip() for name in group.options.get("programs", "").split(",")]
        ]


def sections(source: Source) -> Iterator[Section]:
    # Like Supervisor: both comment characters, and repeated sections are merged.
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        parser.read_string(source.text)
    except configparser.MissingSectionHeaderError as error:
        raise source.error("text before the first [section]", error.lineno) from error
    except configparser.ParsingError as error:
        raise source.error("expected key=value", error.errors[0][0]) from error
    for title in parser.sections():
        kind, _, name = title.partition(":")
        options = {
            key: value.replace("%(here)s", source.folder or "%(here)s") for key, value in parser[title].items()
        }
        yield Section(kind.strip(), name.strip(), options, source)


def include(section: Section, configuration: Configuration, imported: Imported) -> None:
    for pattern in section.options.get("files", "").split():
        path = section.source.absolute(pattern)
        names = section.source.files.glob(path) if path else []
        if not names:
            imported.note(f"[include] {pattern}: no such file; import it separately")
        for name in names:
            try:
                text = section.source.files.read(name)
            except OSError as error:
                imported.note(f"[include] {name}: not read, {error}")
                continue
            for included in sections(Source(text, name, section.source.files)):
                configuration.add(included)


def _line_of(text: str, title: str, key: str) -> int | None:
    inside, begin = False, None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            inside = line.startswith(f"[{title}]")
            begin = number if inside else begin
        elif inside and re.split(r"[=:]", line)[0].strip().lower() == key:
            return number
    return begin
