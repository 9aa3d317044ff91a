"""What all import formats share: the source text, the draft of a definition, and notes on what was lost."""

from __future__ import annotations

import copy
import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Protocol

from programs.definition.fields import DEFAULTS, FIELDS, default_stop_ladder, defaults
from programs.definition.values import RESERVED_VARIABLE, VARIABLE_NAME
from programs.validation import LOG_MIN_BYTES

MAX_CHARACTERS = 1_000_000
NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/]+")
NOT_IN_A_TAG = re.compile(r"[\s,\"\\\x00-\x1f]+")


class FormatError(ValueError):
    """A text that can't be parsed; the message names the file and the line if they are known."""

    def __init__(self, message: str, *, filename: str = "", line: int | None = None) -> None:
        where = ", ".join(filter(None, (filename, f"line {line}" if line else "")))
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.filename = filename
        self.line = line


@dataclass(frozen=True)
class Note:
    """A setting that was not imported. `program` is empty if it belongs to the whole file."""

    program: str
    message: str


@dataclass
class Imported:
    definitions: list[dict[str, Any]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def add(self, draft: Draft) -> None:
        self.definitions.append(draft.finished())
        self.notes += draft.notes

    def note(self, message: str) -> None:
        self.notes.append(Note("", message))


class Files(Protocol):
    """Reads the files that a text refers to."""

    def read(self, path: str) -> str:
        """Raises OSError, with a reason for people."""

    def glob(self, pattern: str) -> list[str]: ...


class LocalFiles:
    """Regular files of this machine, at most 1 MB: reading a device or a FIFO might never end."""

    def read(self, path: str) -> str:
        file = Path(path)
        if not file.exists():
            raise FileNotFoundError("there is no such file")
        if not file.is_file():
            raise OSError("it is not a regular file")
        if file.stat().st_size > MAX_CHARACTERS:
            raise OSError("it is larger than 1 MB")
        return file.read_text("utf-8", errors="replace")

    def glob(self, pattern: str) -> list[str]:
        return sorted(glob.glob(pattern))  # noqa: PTH207  (absolute patterns, which Path.glob refuses)


class NoFiles:
    """For an uploaded text: the files that it refers to are on another machine."""

    def read(self, path: str) -> str:
        raise PermissionError("other files are not read here")

    def glob(self, pattern: str) -> list[str]:
        return []


@dataclass(frozen=True)
class Source:
    """One text to import. `filename` may be empty; relative paths start from the folder of an absolute one."""

    text: str
    filename: str = ""
    files: Files = field(default_factory=LocalFiles)

    @property
    def folder(self) -> str:
        return str(PurePath(self.filename).parent) if os.path.isabs(self.filename) else ""  # noqa: PTH117

    def error(self, message: str, line: int | None = None) -> FormatError:
        return FormatError(message, filename=self.filename, line=line)

    def absolute(self, path: str) -> str | None:
        """`path` as an absolute path; None if it is relative to an unknown folder."""
        if os.path.isabs(path):  # noqa: PTH117
            return path
        return os.path.normpath(os.path.join(self.folder, path)) if self.folder else None  # noqa: PTH118


class Draft:
    """A definition being built, with notes on what could not be imported."""

    def __init__(self, name: str) -> None:
        self.name = NOT_IN_A_NAME.sub("-", name).strip()[:100]
        self.fields: dict[str, Any] = {"name": self.name}
        self.variables: dict[str, str] = {}
        self.notes: list[Note] = []
        if self.name != name:
            self.note(f"its name was {name!r}")

    def set(self, field_name: str, value: Any) -> None:
        self.fields[field_name] = value

    def note(self, message: str) -> None:
        self.notes.append(Note(self.name, message))

    def dropped(self, key: str, why: str = "there is no equivalent here") -> None:
        self.note(f"{key}: not imported, {why}")

    def variable(self, name: str, value: str) -> None:
        """Adds to the environment; a later value of the same name wins."""
        if not VARIABLE_NAME.fullmatch(name) or name == RESERVED_VARIABLE or "\x00" in value:
            self.dropped(f"variable {name!r}", "its name or value isn't valid here")
        else:
            self.variables[name] = value

    def tag(self, text: str) -> None:
        if tag := NOT_IN_A_TAG.sub("-", text)[:50]:
            self.fields["tags"] = list(dict.fromkeys([*self.fields.get("tags", []), tag]))

    def instances(self, count: int) -> None:
        self.fields |= {"instances_min": count, "instances_max": count}

    def stop_with(self, *, signal: str | None = None, seconds: float | None = None) -> None:
        """Changes the last step, which sends the signal; at most an hour."""
        step = self._ladder()[-1]
        if signal is not None:
            step["step"] = f"signal:{signal.upper().removeprefix('SIG')}"
        if seconds is not None:
            if seconds > 3600:
                self.note("the stop time was limited to one hour")
            step["seconds"] = min(seconds, 3600)

    def stop_first(self, step: str, seconds: float) -> None:
        self._ladder().insert(-1, {"step": step, "seconds": min(seconds, 3600)})

    def _ladder(self) -> list[dict[str, Any]]:
        ladder: list[dict[str, Any]] = self.fields.setdefault("stop_ladder", default_stop_ladder())
        return ladder

    def log_size(self, key: str, size: int) -> None:
        if size <= 0:  # what Supervisor calls unlimited
            self.dropped(
                key, f"logs are always rotated here, by default at {DEFAULTS.log_max_bytes // 1024**2} MB"
            )
            return
        if size < LOG_MIN_BYTES:
            self.note(f"{key}: raised to the minimum of {LOG_MIN_BYTES} bytes")
        self.fields["log_max_bytes"] = max(size, LOG_MIN_BYTES)

    def finished(self) -> dict[str, Any]:
        if self.fields.get("user", "").isdigit():
            self.note(f"user: use a name instead of the number {self.fields['user']}")
        entries = [{"name": name, "value": value} for name, value in self.variables.items()]
        return compact({**self.fields, "environment": entries})


def placeholder(first: int) -> str:
    """The placeholder for a process number that is `first` for instance 0."""
    return "{instance}" if first == 0 else f"{{instance{first:+d}}}"


def compact(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the fields in their order, without defaults and unknown keys."""
    standard = defaults()
    return {
        name: copy.deepcopy(definition[name])
        for name in FIELDS
        if definition.get(name) is not None and (name not in standard or definition[name] != standard[name])
    }


def gathered(parts: Iterable[Imported]) -> Imported:
    whole = Imported()
    for part in parts:
        whole.definitions += part.definitions
        whole.notes += part.notes
    return whole
