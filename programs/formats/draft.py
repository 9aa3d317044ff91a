"""What every format shares: where the text comes from, the definition being made, and what could not be kept."""

from __future__ import annotations

import copy
import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Protocol

from programs.definition.fields import FIELDS, default_stop_ladder, defaults
from programs.definition.values import RESERVED_VARIABLE
from programs.validation import LOG_MIN_BYTES

MAX_CHARACTERS = 1_000_000
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/]+")
NOT_IN_A_TAG = re.compile(r"[\s,\"\\\x00-\x1f]+")


class FormatError(ValueError):
    """A text that cannot be read; says the file and the line where it is known."""

    def __init__(self, message: str, *, filename: str = "", line: int | None = None) -> None:
        where = ", ".join(filter(None, (filename, f"line {line}" if line else "")))
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.filename = filename
        self.line = line


@dataclass(frozen=True)
class Note:
    """Something of the text that the definition does not hold. `program` is empty for the file as a whole."""

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
    """The other files a text may point to."""

    def read(self, path: str) -> str:
        """Raises OSError, with a reason a person understands."""

    def glob(self, pattern: str) -> list[str]: ...


class LocalFiles:
    """This machine's files, regular ones of a sane size only: a device or a FIFO would never end."""

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
    """For a text that comes from elsewhere, an upload: what it points to is not on this machine."""

    def read(self, path: str) -> str:
        raise PermissionError("other files are not read here")

    def glob(self, pattern: str) -> list[str]:
        return []


@dataclass(frozen=True)
class Source:
    """One text to read. `filename` may be empty; an absolute one says what relative paths start from."""

    text: str
    filename: str = ""
    files: Files = field(default_factory=LocalFiles)

    @property
    def folder(self) -> str:
        """The folder of the file, or nothing when that is not known."""
        return str(PurePath(self.filename).parent) if os.path.isabs(self.filename) else ""  # noqa: PTH117

    def error(self, message: str, line: int | None = None) -> FormatError:
        return FormatError(message, filename=self.filename, line=line)

    def absolute(self, path: str) -> str | None:
        """`path` from the root, or None when it is relative to a folder that is not known."""
        if os.path.isabs(path):  # noqa: PTH117
            return path
        return os.path.normpath(os.path.join(self.folder, path)) if self.folder else None  # noqa: PTH118


class Draft:
    """One definition being made, with the notes on what it could not take over."""

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

    def dropped(self, key: str, why: str = "there is nothing like it here") -> None:
        self.note(f"{key}: not carried over, {why}")

    def variable(self, name: str, value: str) -> None:
        """Adds to the environment; a later value of the same name wins."""
        if not VARIABLE.fullmatch(name) or name == RESERVED_VARIABLE or "\x00" in value:
            self.dropped(f"variable {name!r}", "its name or value is not possible here")
        else:
            self.variables[name] = value

    def tag(self, text: str) -> None:
        if tag := NOT_IN_A_TAG.sub("-", text)[:50]:
            self.fields["tags"] = list(dict.fromkeys([*self.fields.get("tags", []), tag]))

    def instances(self, count: int) -> None:
        self.fields |= {"instances_min": count, "instances_max": count}

    def stop_with(self, *, signal: str | None = None, seconds: float | None = None) -> None:
        """Changes the step that sends the signal, the last of the ladder. At most an hour is possible."""
        step = self._ladder()[-1]
        if signal is not None:
            step["step"] = f"signal:{signal.upper().removeprefix('SIG')}"
        if seconds is not None:
            if seconds > 3600:
                self.note("stopping waits one hour at most")
            step["seconds"] = min(seconds, 3600)

    def stop_first(self, step: str, seconds: float) -> None:
        """Puts a step before the signal."""
        self._ladder().insert(-1, {"step": step, "seconds": min(seconds, 3600)})

    def _ladder(self) -> list[dict[str, Any]]:
        ladder: list[dict[str, Any]] = self.fields.setdefault("stop_ladder", default_stop_ladder())
        return ladder

    def log_size(self, key: str, size: int) -> None:
        """Sets the size at which the log is rotated, within what is possible here."""
        if size <= 0:
            self.dropped(key, "a log is always rotated here, at 50 MB by default")
            return
        if size < LOG_MIN_BYTES:
            self.note(f"{key}: raised to {LOG_MIN_BYTES} bytes, the least possible")
        self.fields["log_max_bytes"] = max(size, LOG_MIN_BYTES)

    def finished(self) -> dict[str, Any]:
        if self.fields.get("user", "").isdigit():
            self.note(f"user: write the name of user {self.fields['user']}, numbers are not taken")
        entries = [{"name": name, "value": value} for name, value in self.variables.items()]
        return compact({**self.fields, "environment": entries})


def placeholder(first: int) -> str:
    """What stands for the number of a process when that of instance 0 is `first`."""
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
    """Several imports as one."""
    whole = Imported()
    for part in parts:
        whole.definitions += part.definitions
        whole.notes += part.notes
    return whole
