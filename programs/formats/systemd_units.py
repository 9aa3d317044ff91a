"""Parses systemd unit files: sections, quoting, specifiers, times and sizes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from .draft import Source, placeholder

# The line that `systemctl cat` writes before each file.
FILE_HEADER = re.compile(r"^# (/\S+/([^/\s]+\.service)(?:\.d/[^/\s]+\.conf)?)[ \t]*\n", re.MULTILINE)
SPECIFIER = re.compile(r"%(.)", re.DOTALL)
ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " ", "\\": "\\",
    '"': '"', "'": "'", ";": ";",
}  # fmt: skip
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3}|.)", re.DOTALL)
TIME = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-zµ]*)")
SECONDS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("us", "µs", "usec"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
}
BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@dataclass(frozen=True)
class Value:
    text: str
    line: int


@dataclass
class Unit:
    """One service. `keys` has the values per (section, key); an empty assignment resets the list."""

    name: str  # "web.service"
    source: Source
    keys: dict[tuple[str, str], list[Value]] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return self.name.removesuffix(".service")

    @property
    def program(self) -> str:
        return self.stem.removesuffix("@")

    def values(self, section: str, key: str) -> list[Value]:
        return self.keys.get((section, key), [])

    def last(self, section: str, key: str) -> str:
        """The last assignment wins for a key with one value. Empty without one."""
        found = self.values(section, key)
        return found[-1].text if found else ""

    def listed(self, section: str, *keys: str) -> list[str]:
        return [word for key in keys for value in self.values(section, key) for word in value.text.split()]

    def specifiers(self) -> dict[str, str]:
        prefix, at, instance = self.stem.partition("@")
        instance = instance or (placeholder(0) if at else "")
        return {"n": self.name, "N": self.stem, "p": prefix, "P": prefix, "i": instance, "I": instance, "%": "%"}

    def fill(self, text: str, unknown: set[str]) -> str:
        """Replaces known specifiers; adds the others to `unknown` and keeps them."""
        known = self.specifiers()

        def filled(found: re.Match[str]) -> str:
            if found[1] not in known:
                unknown.add(found[0])
            return known.get(found[1], found[0])

        return SPECIFIER.sub(filled, text)


def units(source: Source) -> Iterator[Unit]:
    """The services in a unit file or in the output of `systemctl cat a b c`. Raises FormatError."""
    found: dict[str, Unit] = {}
    for name, text, first_line in _files(source):
        unit = found.setdefault(name, Unit(name, source))
        _parse(text, unit, first_line)
    yield from found.values()


def _files(source: Source) -> Iterator[tuple[str, str, int]]:
    headers = list(FILE_HEADER.finditer(source.text))
    if not headers:
        name = PurePath(source.filename).name
        if not name:
            raise source.error("the name of the unit file is unknown, and it is the name of the program")
        yield (name if name.endswith(".service") else f"{PurePath(name).stem}.service"), source.text, 1
        return
    ends = [header.start() for header in headers[1:]] + [len(source.text)]
    for header, end in zip(headers, ends, strict=True):
        line = source.text.count("\n", 0, header.end()) + 1
        yield header[2], source.text[header.end() : end], line


def _parse(text: str, unit: Unit, first_line: int) -> None:
    section = ""
    for number, line in _logical_lines(text, first_line):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if not equals or not section:
            raise unit.source.error("expected [Section] or Key=value", number)
        assigned = unit.keys.setdefault((section, key.strip()), [])
        if value.strip():
            assigned.append(Value(value.strip(), number))
        else:
            assigned.clear()


def _logical_lines(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """Removes comments; joins lines that end with a backslash, also across comments."""
    waiting, begin = "", first_line
    for number, line in enumerate(text.split("\n"), first_line):
        line = line.strip()
        if line[:1] in ("#", ";") or (not line and not waiting):
            continue
        begin = begin if waiting else number
        if line.endswith("\\"):
            waiting += line[:-1] + " "
            continue
        yield begin, waiting + line
        waiting = ""
    if waiting.strip():
        yield begin, waiting.strip()


def split_words(text: str) -> list[str]:
    """Splits like systemd: both quotes, C escapes, no variables. Raises ValueError."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        word, at = _word(text, at)
        words.append(word)
    return words


def _word(text: str, at: int) -> tuple[str, int]:
    parts, quote = [], ""
    while at < len(text) and (quote or not text[at].isspace()):
        if text[at] == "\\" and (escape := ESCAPE.match(text, at)):
            parts.append(_unescaped(escape[1]))
            at = escape.end()
            continue
        if text[at] == quote or (not quote and text[at] in "'\""):
            quote = "" if quote else text[at]
        else:
            parts.append(text[at])
        at += 1
    if quote:
        raise ValueError("unclosed quote")
    return "".join(parts), at


def _unescaped(code: str) -> str:
    if code[0] in "xu" and len(code) > 1:
        return chr(int(code[1:], 16))
    if len(code) == 3:
        return chr(int(code, 8))
    return ESCAPES.get(code, "\\" + code)


def seconds(text: str) -> float | None:
    """`5min 20s`, `500ms`, `90`; None for `infinity`. Raises ValueError."""
    if text == "infinity":
        return None
    total, at = 0.0, 0
    while found := TIME.match(text, at):
        if found[2] not in SECONDS:
            break
        total, at = total + float(found[1]) * SECONDS[found[2]], found.end()
    if at < len(text) or not text:
        raise ValueError(f"{text!r} is not a time")
    return int(total) if total.is_integer() else round(total, 6)


def size(text: str) -> int | None:
    """`512M`, `65536`; None for `infinity`. Raises ValueError."""
    if text == "infinity":
        return None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)", text)
    if found is None:
        raise ValueError(f"{text!r} is not a size")
    return int(float(found[1]) * BYTES[found[2]])


def shell_word(word: str) -> str:
    """Quotes a word for a shell so that variables expand as in systemd: only `$NAME` as a whole word is split."""
    if re.fullmatch(r"\$[A-Za-z_]\w*", word):
        return word
    parts = re.split(r"(\$\$|\$\{[A-Za-z_]\w*\})", word)
    quoted = "".join(
        part if part.startswith("${") else re.sub(r'([\\"`$])', r"\\\1", part.replace("$$", "$")) for part in parts
    )
    return f'"{quoted}"' if "${" in word else shlex.quote(word.replace("$$", "$"))


def has_variables(word: str) -> bool:
    return bool(re.fullmatch(r"\$[A-Za-z_]\w*", word) or re.search(r"(?<!\$)(?:\$\$)*\$\{[A-Za-z_]\w*\}", word))
