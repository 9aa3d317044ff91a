"""What a person wants to know of an event, or of many: taken out of delivered bodies, before any format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.masking import mask_text, printable
from core.timeformat import in_utc
from programs.descriptions import duration, quantity
from programs.logs.lines import CONTROL

from .text_limits import cut

LONGEST_TEXT = 500
MOST_LOG_LINES = 10
MOST_DIGEST_LINES = 15


class Tone(StrEnum):
    """How bad it is; formats choose colours by it. In rising order of badness."""

    GOOD = "good"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


SIGNS = {Tone.GOOD: "🟢", Tone.INFO: "🔵", Tone.WARNING: "🟠", Tone.ERROR: "🔴"}
GOOD_NEWS = frozenset({"program.running", "program.healthy", "alert.resolved", "plugin.succeeded"})


@dataclass(frozen=True)
class Message:
    """One event in words. Texts are single lines without control characters, safe to escape for any format.

    `facts` are (label, value) in the order they are shown. `link` is an http(s) URL or empty.
    """

    tone: Tone
    headline: str
    type: str
    moment: datetime | None
    meaning: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    log_lines: tuple[str, ...] = ()
    link: str = ""
    program: str = ""

    @property
    def sign(self) -> str:
        return SIGNS[self.tone]


@dataclass(frozen=True)
class Digest:
    """Many events in one message: a headline, and a line for each kind of event of each program."""

    tone: Tone
    headline: str
    lines: tuple[str, ...]

    @property
    def sign(self) -> str:
        return SIGNS[self.tone]


def message_of(body: Mapping[str, Any]) -> Message:
    """From a delivered body. What is missing, or of another shape than expected, is left out."""
    data = _mapping(body.get("data"))
    event, process = _mapping(data.get("event")), _mapping(data.get("process"))
    told = {**_mapping(event.get("data")), **process}
    kind, moment = _line(body.get("type")), _moment(body.get("timestamp"))
    meaning = _line(told.get("meaning"))
    headline = _line(data.get("summary")) or kind or "An event"
    return Message(
        tone=_tone(kind, event.get("severity")),
        headline=headline,
        type=kind,
        moment=moment,
        meaning=meaning if meaning not in headline else "",
        facts=tuple(_facts(data, event, told, moment)),
        log_lines=tuple(_log_lines(told.get("log_lines"))),
        link=_link(data.get("link")),
        program=_line(_mapping(data.get("program")).get("name")),
    )


def digest_of(bodies: Iterable[Mapping[str, Any]]) -> Digest:
    """Events of one program and type become one line that says how many there were."""
    messages = [message_of(body) for body in bodies]
    groups: dict[tuple[str, str], list[Message]] = {}
    for message in messages:
        groups.setdefault((message.program, message.type), []).append(message)
    lines = [_group_line(group) for group in groups.values()]
    hidden = len(lines) - MOST_DIGEST_LINES
    if hidden > 0:
        lines = [*lines[:MOST_DIGEST_LINES], f"… and {hidden} more kinds of event"]
    programs = len({message.program for message in messages if message.program})
    about = f" of {programs} programs" if programs > 1 else ""
    return Digest(
        tone=max((message.tone for message in messages), key=list(Tone).index, default=Tone.INFO),
        headline=f"{len(messages)} events{about}{_span(messages)}",
        lines=tuple(lines),
    )


def _group_line(group: Sequence[Message]) -> str:
    worst = max(group, key=lambda message: list(Tone).index(message.tone))
    times = f" ({len(group)} times)" if len(group) > 1 else ""
    return f"{worst.sign} {_clock(group[-1].moment)} {group[-1].headline}{times}".replace("  ", " ")


def _span(messages: Sequence[Message]) -> str:
    moments = [message.moment for message in messages if message.moment]
    if not moments or max(moments) == min(moments):
        return ""
    return f" within {duration((max(moments) - min(moments)).total_seconds())}"


def _clock(moment: datetime | None) -> str:
    return f"{moment:%H:%M:%S}" if moment else ""


# --- Out of the body ------------------------------------------------------------------------------------


def _facts(
    data: Mapping[str, Any], event: Mapping[str, Any], told: Mapping[str, Any], moment: datetime | None
) -> Iterable[tuple[str, str]]:
    """What is known, in the order in which people ask."""
    uptime, restarts = _number(told.get("uptime_seconds")), _number(told.get("restarts_last_hour"))
    actor, late = _line(event.get("actor")), _number(data.get("late_seconds"))
    found = (
        ("Program", _program(data, told)),
        ("Host", _line(data.get("host"))),
        *_of_alert(event, told),
        ("Ended with", _ending(told)),
        ("Uptime before", duration(uptime) if uptime is not None else ""),
        ("Restarts in the last hour", f"{restarts:g}" if restarts is not None else ""),
        ("By", actor if actor != "agent" else ""),
        ("When", f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""),
        ("Delivered", f"late by {duration(late)}" if late else ""),
    )
    return ((label, value) for label, value in found if value)


def _of_alert(event: Mapping[str, Any], told: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What an event about an alert rule tells."""
    if not str(event.get("type", "")).startswith("alert."):
        return ()
    limit, seconds = _amount(told, "threshold"), _number(told.get("seconds"))
    return (
        ("Rule", _line(told.get("rule"))),
        (_line(told.get("measure")) or "Value", _amount(told, "value")),
        ("Highest, lowest", " / ".join(filter(None, (_amount(told, "highest"), _amount(told, "lowest"))))),
        ("Threshold", f"{_line(told.get('condition'))} {limit}".strip() if limit else ""),
        ("Lasted", duration(seconds) if seconds is not None else ""),
    )


def _amount(told: Mapping[str, Any], name: str) -> str:
    value = _number(told.get(name))
    return "" if value is None else quantity(value, _line(told.get("unit")))


def _ending(told: Mapping[str, Any]) -> str:
    code = _number(told.get("exit_code"))
    return _line(told.get("exit_signal")) or (f"exit code {code:.0f}" if code is not None else "")


def _program(data: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    name = _line(_mapping(data.get("program")).get("name"))
    index = _number(told.get("index"))
    return f"{name} (instance {index:g})" if name and index else name


def _tone(kind: str, severity: Any) -> Tone:
    if severity in (Tone.WARNING, Tone.ERROR):
        return Tone(severity)
    return Tone.GOOD if kind in GOOD_NEWS else Tone.INFO


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) and abs(value) < 10**15 else None


def _line(value: Any) -> str:
    """One printable line, with what looks like a secret blanked."""
    text = _encodable(value) if isinstance(value, str) else ""
    return cut(mask_text(" ".join(printable(CONTROL.sub("", text)).split())), LONGEST_TEXT)


def _log_lines(value: Any) -> list[str]:
    texts = (
        [line.get("text") if isinstance(line, Mapping) else line for line in value or ()]
        if _is_list(value)
        else []
    )
    kept = [_log_line(text) for text in texts if isinstance(text, str)]
    return [line for line in kept if line][-MOST_LOG_LINES:]


def _log_line(text: str) -> str:
    return mask_text(CONTROL.sub("", _encodable(text)).replace("\n", " ").rstrip())


def _encodable(text: str) -> str:
    """With `?` for halves of characters, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _link(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"https?://[^\s<>\"'|\\^`{}]+", value) else ""


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return in_utc(moment)
