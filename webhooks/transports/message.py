"""Turns payloads into messages for people, independent of the format: headline, facts, log lines, digests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils import translation
from django.utils.formats import date_format

from core.masking import mask_lines, mask_text, printable
from core.public_url import public_url
from core.timeformat import in_utc, local_time
from programs.descriptions import duration, quantity
from programs.logs.lines import CONTROL

from .text import LINE_BREAKS, cut, visible

Fact = tuple[str, str]
Escape = Callable[[str], str]
ReaderTime = Callable[[datetime, str], str]
WHEN = "When"
MAX_TEXT = 500
MAX_LOG_LINES = 10
MAX_DIGEST_LINE = 600
# What differs between two events that say the same.
COUNTERS = frozenset(
    {
        "pid", "uptime_seconds", "delay_seconds", "restarts", "restarts_last_hour", "window_seconds", "attempt",
        "seconds", "log_lines",
    }
)  # fmt: skip


class MessageTone(StrEnum):
    """Severity of a message; formats choose colours by it. In ascending order."""

    GOOD = "good"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


SIGNS = {MessageTone.GOOD: "🟢", MessageTone.INFO: "🔵", MessageTone.WARNING: "🟠", MessageTone.ERROR: "🔴"}
GOOD_EVENTS = frozenset({"program.running", "program.healthy", "alert.resolved", "plugin.succeeded"})


@dataclass(frozen=True)
class EventMessage:
    """All texts are single lines without control characters, but not escaped.

    `facts`: (label, value) in display order. `link`: an http(s) URL or empty.
    """

    tone: MessageTone
    headline: str
    type: str
    timestamp: datetime | None
    meaning: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    log_lines: tuple[str, ...] = ()
    link: str = ""
    program: str = ""

    @property
    def sign(self) -> str:
        return SIGNS[self.tone]

    def escaped_facts(self, escape: Escape, when: ReaderTime | None = None) -> list[Fact]:
        """`when(timestamp, text)` is the service's own token, which shows each reader their local time."""
        return [
            (
                label,
                when(self.timestamp, escape(value))
                if label == WHEN and when and self.timestamp
                else escape(value),
            )
            for label, value in self.facts
        ]


@dataclass(frozen=True)
class Digest:
    """Several events in one message, with a line for each; equal ones share a line that counts them."""

    tone: MessageTone
    headline: str
    lines: tuple[str, ...]
    link: str = ""

    @property
    def sign(self) -> str:
        return SIGNS[self.tone]


def build_message(body: Mapping[str, Any]) -> EventMessage:
    """Leaves out what is missing or has an unexpected type."""
    data = _mapping(body.get("data"))
    event, process = _mapping(data.get("event")), _mapping(data.get("process"))
    details = {**_mapping(event.get("data")), **process}
    kind, timestamp = _line(body.get("type")), _timestamp(body.get("timestamp"))
    meaning = _line(details.get("meaning"))
    headline = _line(data.get("summary")) or kind or "Event"
    return EventMessage(
        tone=_tone(kind, event.get("severity")),
        headline=headline,
        type=kind,
        timestamp=timestamp,
        meaning=meaning if meaning not in headline else "",
        facts=tuple(_facts(data, event, details, timestamp, headline)),
        log_lines=tuple(_log_lines(details.get("log_lines"))),
        link=_link(data.get("link")),
        program=_line(_mapping(data.get("program")).get("name")),
    )


def build_digest(bodies: Sequence[Mapping[str, Any]]) -> Digest:
    messages = [build_message(body) for body in bodies]
    groups: dict[str, list[EventMessage]] = {}
    for body, message in zip(bodies, _with_instances(bodies, messages), strict=True):
        groups.setdefault(_identity(body, message), []).append(message)
    programs = len({message.program for message in messages if message.program})
    about = f" of {programs} programs" if programs > 1 else ""
    return Digest(
        tone=max((message.tone for message in messages), key=list(MessageTone).index, default=MessageTone.INFO),
        headline=f"{len(messages)} events{about}{_span(messages)}",
        lines=tuple(map(_group_line, groups.values())),
        link=_link(f"{public_url()}/admin/programs/programevent/"),
    )


def _identity(body: Mapping[str, Any], message: EventMessage) -> str:
    """Equal for events that say the same apart from times and counters, which alone may share a line."""
    data = _mapping(body.get("data"))
    event, process = _mapping(data.get("event")), _mapping(data.get("process"))
    details = {**_mapping(event.get("data")), **process}
    facts = {name: value for name, value in details.items() if name not in COUNTERS}
    return repr(
        (message.type, message.tone, data.get("program"), data.get("host"), sorted(facts.items(), key=str))
    )


def _with_instances(
    bodies: Sequence[Mapping[str, Any]], messages: Sequence[EventMessage]
) -> Iterable[EventMessage]:
    """Names the instance in the headlines of programs of which the bundle has several."""
    indexes = [_number(_mapping(_mapping(body.get("data")).get("process")).get("index")) for body in bodies]
    several = {message.program for message, index in zip(messages, indexes, strict=True) if index not in (None, 0)}
    for message, index in zip(messages, indexes, strict=True):
        name = "" if index is None or message.program not in several else f"instance {index:g}"
        is_missing = name and name not in message.headline
        yield replace(message, headline=f"{message.headline} ({name})") if is_missing else message


def _group_line(group: Sequence[EventMessage]) -> str:
    last = group[-1]
    times = f" ({len(group)} times)" if len(group) > 1 else ""
    return f"{last.sign} {_clock_time(last.timestamp)} {last.headline}{times}".replace("  ", " ")


def _span(messages: Sequence[EventMessage]) -> str:
    times = [message.timestamp for message in messages if message.timestamp]
    if not times or max(times) == min(times):
        return ""
    return f" within {duration((max(times) - min(times)).total_seconds())}"


def _clock_time(at: datetime | None) -> str:
    return f"{_in_zone(at):%H:%M:%S}" if at else ""


# --- Parts of the payload -------------------------------------------------------------------------------


def _facts(
    data: Mapping[str, Any],
    event: Mapping[str, Any],
    details: Mapping[str, Any],
    timestamp: datetime | None,
    headline: str,
) -> Iterable[Fact]:
    uptime, restarts = _number(details.get("uptime_seconds")), _number(details.get("restarts_last_hour"))
    actor, late = _line(event.get("actor")), _number(data.get("late_seconds"))
    described = (
        ("Program", _program(data, details)),
        *_alert_facts(event, details),
        ("Exited with", _exit_text(details)),
        ("Uptime before", duration(uptime) if uptime is not None else ""),
    )
    found = (
        *((label, value) for label, value in described if value and not _says(headline, value)),
        ("Host", _line(data.get("host"))),
        ("Restarts in the last hour", f"{restarts:g}" if restarts else ""),
        ("By", actor if actor != "agent" else ""),
        (WHEN, _local_text(timestamp) if timestamp else ""),
        ("Delivered", f"late by {duration(late)}" if late else ""),
    )
    return ((label, value) for label, value in found if value)


def _says(headline: str, value: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", headline) is not None


def _local_text(at: datetime) -> str:
    """In the time zone of this machine and the language of the settings."""
    local = _in_zone(at)
    if settings.LANGUAGE_CODE == "en":
        return f"{local:%Y-%m-%d %H:%M:%S %Z}"
    with translation.override(settings.LANGUAGE_CODE):
        return f"{date_format(local, 'DATETIME_FORMAT')} {local:%Z}"


def _in_zone(at: datetime) -> datetime:
    try:
        return local_time(at)
    except (OverflowError, ValueError):  # at the edge of the years 1 and 9999
        return at


def _alert_facts(event: Mapping[str, Any], details: Mapping[str, Any]) -> Iterable[Fact]:
    if not str(event.get("type", "")).startswith("alert."):
        return ()
    limit, seconds = _amount(details, "threshold"), _number(details.get("seconds"))
    return (
        ("Rule", _line(details.get("rule"))),
        (_line(details.get("measure")) or "Value", _amount(details, "value")),
        ("Highest, lowest", " / ".join(filter(None, (_amount(details, "highest"), _amount(details, "lowest"))))),
        ("Threshold", f"{_line(details.get('condition'))} {limit}".strip() if limit else ""),
        ("Duration", duration(seconds) if seconds is not None else ""),
    )


def _amount(details: Mapping[str, Any], name: str) -> str:
    value = _number(details.get(name))
    return "" if value is None else quantity(value, _line(details.get("unit")))


def _exit_text(details: Mapping[str, Any]) -> str:
    code = _number(details.get("exit_code"))
    return _line(details.get("exit_signal")) or (f"exit code {code:.0f}" if code is not None else "")


def _program(data: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    name = _line(_mapping(data.get("program")).get("name"))
    index = _number(details.get("index"))
    return f"{name} (instance {index:g})" if name and index else name


def _tone(kind: str, severity: Any) -> MessageTone:
    # Events have no severity for good news: it depends on the type.
    if severity in (MessageTone.WARNING, MessageTone.ERROR):
        return MessageTone(severity)
    return MessageTone.GOOD if kind in GOOD_EVENTS else MessageTone.INFO


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    # Not bool, and neither infinity nor NaN.
    return value if type(value) in (int, float) and abs(value) < 10**15 else None


def _line(value: Any) -> str:
    """One printable line, with likely secrets masked."""
    text = _encodable(value) if isinstance(value, str) else ""
    return cut(mask_text(" ".join(printable(visible(CONTROL.sub("", text))).split())), MAX_TEXT)


def _log_lines(value: Any) -> list[str]:
    texts = (
        [line.get("text") if isinstance(line, Mapping) else line for line in value or ()]
        if _is_list(value)
        else []
    )
    lines = mask_lines([_log_line(text) for text in texts if isinstance(text, str)])
    return [line for line in lines if line][-MAX_LOG_LINES:]


def _log_line(text: str) -> str:
    return visible(LINE_BREAKS.sub(" ", CONTROL.sub("", _encodable(text)))).rstrip()


def _encodable(text: str) -> str:
    # Lone surrogates, valid in JSON but not in UTF-8, become `?`.
    return text.encode(errors="replace").decode()


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _link(value: Any) -> str:
    # No `javascript:` URLs, and no characters that could end an attribute or a Markdown link.
    return value if isinstance(value, str) and re.fullmatch(r"https?://[^\s<>\"'|\\^`{}]+", value) else ""


def _timestamp(value: Any) -> datetime | None:
    try:
        return in_utc(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return None
