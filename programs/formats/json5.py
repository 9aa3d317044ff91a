"""The part of JSON5 that holds data only: comments, bare keys, single quotes, trailing commas. Code is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .draft import FormatError

SPACE = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
WORD = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*")
NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|(?:\d{1,30}(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?)(?![\w$])")
STRING = re.compile(r"'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`\\]|\\.)*)`", re.DOTALL)
ESCAPE = re.compile(r"\\(u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r?\n|.)", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}
USE_STRICT = re.compile(r"(['\"])use strict\1\s*;?")
KEY = re.compile(r"[\w$]+")
PREFIX = re.compile(r"(?:module\.exports\s*=|exports\s*=|export\s+default\b)")
CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "undefined": None}
DEEPEST = 50


class Json5Reader:
    """Reads one value; also the `module.exports = …` and `export default …` around it.

    `names` are further words with a known value, such as `__dirname`. Raises FormatError with the line.
    """

    def __init__(self, text: str, *, filename: str = "", names: Mapping[str, Any] | None = None) -> None:
        self.text = text
        self.filename = filename
        self.names = {**CONSTANTS, **(names or {})}
        self.at = 0

    def read(self) -> Any:
        self._skip()
        if strict := USE_STRICT.match(self.text, self.at):
            self.at = strict.end()
            self._skip()
        if prefix := PREFIX.match(self.text, self.at):
            self.at = prefix.end()
        value = self._value(0)
        self._take(";")
        if self.at < len(self.text):
            raise self._code("after the data stands more")
        return value

    def _skip(self) -> None:
        found = SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _take(self, character: str) -> bool:
        """Steps over `character`, and over the space around it, when it comes next."""
        self._skip()
        taken = self.text.startswith(character, self.at)
        self.at += len(character) if taken else 0
        self._skip()
        return taken

    def _value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise self._error(f"nested deeper than {DEEPEST} levels")
        if self._take("{"):
            return self._object(depth)
        if self._take("["):
            return self._list(depth)
        if self.text[self.at : self.at + 1] in ("'", '"', "`"):
            return self._string()
        if number := NUMBER.match(self.text, self.at):
            self.at = number.end()
            return _number(number[0])
        return self._word()

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._take("}"):
            key = self._key()
            if not self._take(":"):
                raise self._code(f"after {key!r} a colon is missing")
            if key in found:
                raise self._error(f"{key!r} stands twice")
            found[key] = self._value(depth + 1)
            if not self._take(",") and not self.text.startswith("}", self.at):
                raise self._code("a comma or } is missing")
        return found

    def _list(self, depth: int) -> list[Any]:
        found = []
        while not self._take("]"):
            found.append(self._value(depth + 1))
            if not self._take(",") and not self.text.startswith("]", self.at):
                raise self._code("a comma or ] is missing")
        return found

    def _key(self) -> str:
        if self.text[self.at : self.at + 1] in ("'", '"'):
            return self._string()
        word = KEY.match(self.text, self.at)
        if word is None:
            raise self._code("a key is missing")
        self.at = word.end()
        return word[0]

    def _string(self) -> str:
        found = STRING.match(self.text, self.at)
        if found is None:
            raise self._error("the quote is not closed")
        if found[3] is not None and re.search(r"(?<!\\)\$\{", found[3]):
            raise self._code("the text in back-quotes holds ${…}")
        self.at = found.end()
        return _unescaped(next(part for part in found.groups() if part is not None))

    def _word(self) -> Any:
        word = WORD.match(self.text, self.at)
        if word is None:
            raise self._code("a value is missing")
        if word[0] not in self.names:
            raise self._code(f"{word[0]} is not a value")
        self.at = word.end()
        return self.names[word[0]]

    def _error(self, message: str) -> FormatError:
        return FormatError(message, filename=self.filename, line=self.text.count("\n", 0, self.at) + 1)

    def _code(self, message: str) -> FormatError:
        """For what may be right JavaScript, but is no data."""
        return self._error(
            f"{message}. Only data is read here, no code; have node write the data down: "
            """node -p "JSON.stringify(require('./ecosystem.config.js'))" > ecosystem.json"""
        )


def _number(text: str) -> int | float:
    if "x" in text.lower():
        return int(text, 16)
    if text.lstrip("+-").isdigit():
        return int(text)
    number = float(text)
    return int(number) if number.is_integer() else number


def _unescaped(text: str) -> str:
    filled = ESCAPE.sub(lambda escape: _character(escape[1]), text)
    # Two \u escapes may be the halves of one character beyond U+FFFF.
    return filled.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(code: str) -> str:
    if code[0] in "ux" and len(code) > 1:
        point = int(code[1:].strip("{}"), 16)
        return chr(point) if point <= 0x10FFFF else "\ufffd"
    return ESCAPES.get(code, code)
