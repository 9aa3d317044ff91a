"""Expands Supervisor's `%(name)s` expressions; the process number becomes `{instance}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .draft import placeholder

EXPRESSION = re.compile(r"%%|(?P<digits>\d*)%\((?P<name>[^)]+)\)(?P<width>[-0]?\d{0,2})(?P<type>[sd])")


class NumberNotExpressibleError(Exception):
    """The process number is used in a way that `{instance}` cannot express."""


@dataclass
class Expansions:
    """`numbers` are the process numbers of one definition; `unknown` collects names without a value."""

    values: Mapping[str, str]
    numbers: range
    unknown: set[str] = field(default_factory=set)

    def fill(self, text: str) -> str:
        """Expands known names; several numbers become a placeholder. Raises NumberNotExpressibleError."""
        return EXPRESSION.sub(self._filled, text)

    def fill_fixed(self, text: str) -> str:
        """Like `fill`, for a field without placeholders: only a single process number is allowed."""
        if "%(process_num)" in text and len(self.numbers) > 1:
            raise NumberNotExpressibleError(
                "it contains %(process_num), and this field does not support placeholders"
            )
        return self.fill(text)

    def _filled(self, found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if found["name"] == "process_num":
            return self._number(found["digits"], found["width"])
        if found["name"] not in self.values:
            self.unknown.add(found["name"])
            return found[0]
        value = self.values[found["name"]]
        return found["digits"] + _formatted(value, found["width"], found["type"])

    def _number(self, digits: str, width: str) -> str:
        if len(self.numbers) == 1:
            return digits + f"%{width}d" % self.numbers[0]
        if width == "":
            return digits + placeholder(self.numbers[0])
        if not re.fullmatch(r"0\d+", width):
            raise NumberNotExpressibleError(f"it formats the process number as {width!r}")
        return _zero_padded(digits, int(width), self.numbers)


def _formatted(value: str, width: str, kind: str) -> str:
    if kind == "d" and value.isdecimal():
        return f"%{width}d" % int(value[:12])
    return f"%{width}s" % value


def _zero_padded(digits: str, width: int, numbers: range) -> str:
    """`80%(process_num)02d` is `{instance+8000}`; `web_%(process_num)02d` is `web_0{instance}` up to ten."""
    shortest, longest = len(str(numbers[0])), len(str(numbers[-1]))
    if digits and digits[0] != "0" and longest <= width and len(digits) + width <= 9:
        return placeholder(int(digits) * 10**width + numbers[0])
    if shortest == longest or shortest >= width:
        return digits + "0" * (width - longest) + placeholder(numbers[0])
    raise NumberNotExpressibleError("it pads the process number with zeros")
