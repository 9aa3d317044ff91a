"""Reads JSON5 data: comments, bare keys, single quotes, trailing commas. Refuses JavaScript code."""

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
MAX_DEPTH = 50


class Json5Reader:
    """Reads one value, optionally after `module.exports =` or `export default`.

    `names` maps additional constants such as `__dirname` to values. Raises FormatError with the line.
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
            raise self._no_data_error("unexpected text after the data")
        return value

    def _skip(self) -> None:
        found = SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _take(self, character: str) -> bool:
        """Skips `character` and the space around it. Returns False if another character comes next."""
        self._skip()
        taken = self.text.startswith(character, self.at)
        self.at += len(character) if taken else 0
        self._skip()
        return taken

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels")
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
                raise self._no_data_error(f"missing colon after {key!r}")
            if key in found:
                raise self._error(f"duplicate key {key!r}")
            found[key] = self._value(depth + 1)
            if not self._take(",") and not self.text.startswith("}", self.at):
                raise self._no_data_error("missing comma or }")
        return found

    def _list(self, depth: int) -> list[Any]:
        found = []
        while not self._take("]"):
            found.append(self._value(depth + 1))
            if not self._take(",") and not self.text.startswith("]", self.at):
                raise self._no_data_error("missing comma or ]")
        return found

    def _key(self) -> str:
        if self.text[self.at : self.at + 1] in ("'", '"'):
            return self._string()
        word = KEY.match(self.text, self.at)
        if word is None:
            raise self._no_data_error("missing key")
        self.at = word.end()
        return word[0]

    def _string(self) -> str:
        found = STRING.match(self.text, self.at)
        if found is None:
            raise self._error("the quote is not closed")
        if found[3] is not None and re.search(r"(?<!\\)\$\{", found[3]):
            raise self._no_data_error("${…} in a template string")
        self.at = found.end()
        return _unescaped(next(part for part in found.groups() if part is not None))

    def _word(self) -> Any:
        word = WORD.match(self.text, self.at)
        if word is None:
            raise self._no_data_error("missing value")
        if word[0] not in self.names:
            raise self._no_data_error(f"{word[0]} is not a value")
        self.at = word.end()
        return self.names[word[0]]

    def _error(self, message: str) -> FormatError:
        return FormatError(message, filename=self.filename, line=self.text.count("\n", 0, self.at) + 1)

    def _no_data_error(self, message: str) -> FormatError:
        return self._error(
            f"{message}. Code is not supported, only data; export the data with node: "
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
    # Two \u escapes can be the surrogates of one character above U+FFFF.
    return filled.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(code: str) -> str:
    if code[0] in "ux" and len(code) > 1:
        point = int(code[1:].strip("{}"), 16)
        return chr(point) if point <= 0x10FFFF else "\ufffd"
    return ESCAPES.get(code, code)
