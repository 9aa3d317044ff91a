"""One line for each type of event. Data that lacks a key makes a shorter line, never an error.

What the lines look for in an event's data:

- ends: `exit_code exit_signal out_of_memory meaning uptime_seconds unseen why`, and what follows if known:
  `delay_seconds` (0: now), `restarts` (how many within `window_seconds`)
- starts: `pid restarts` · backoff: `delay_seconds attempt` · fatal: `reason` · stopping: `why`
- stopped: `step seconds tree_killed` · health: `detail` · scaled: `from to` · updated: `changes`
- alerts: `rule value threshold` with their `unit`, `measure condition window_seconds`; over: `seconds why`
- plugins: `plugin seconds error` · webhooks: `webhook reason`
- agents: `host adopted silent_seconds processes`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .durations import counted, duration, ordinal
from .quantities import quantity

Data = Mapping[str, Any]
LONGEST = 500
MOST = 10**15
UNASKED_STEP = "signal:KILL"


def summary(event_type: str, program: str, data: Data | None = None) -> str:
    """One line of at most 500 characters. `program` is its name, empty for the monitor's own events."""
    line = SUMMARIES.get(event_type, _other(event_type))(program, data or {})
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _text(data: Data, *keys: str) -> str:
    """The first of the keys that holds a text."""
    return next((data[key] for key in keys if isinstance(data.get(key), str) and data[key]), "")


def _number(data: Data, *keys: str) -> float | None:
    """The first of the keys that holds a number, within what anything here can be."""
    found = (data[key] for key in keys if type(data.get(key)) in (int, float))
    return next((number for number in found if -MOST < number < MOST), None)


def _span(data: Data, *keys: str) -> str:
    seconds = _number(data, *keys)
    return "" if seconds is None else duration(seconds)


def _with(line: str, template: str, value: str) -> str:
    """`line`, and `template` filled with the value if there is one."""
    return line + template.format(value) if value else line


def _mid_sentence(text: str) -> str:
    """Without the capital of a sentence; names in capitals stay."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _ending(data: Data) -> str:
    """How it ended, in few words."""
    if data.get("out_of_memory") is True:
        return "killed because memory ran out"
    if signal := _text(data, "exit_signal"):
        return f"killed by {signal}"
    code = _number(data, "exit_code")
    if code is not None:
        return f"exit code {code:g}" if 0 <= code <= 255 else f"exit code 0x{int(code) & 0xFFFFFFFF:08X}"
    return _mid_sentence(_text(data, "meaning", "reason"))


def _following(data: Data) -> str:
    """What happens next, when the event knows it."""
    delay = _number(data, "delay_seconds")
    if delay is None:
        return ""
    then = f"restarting in {duration(delay)}" if delay else "restarting now"
    restarts, window = _number(data, "restarts"), _span(data, "window_seconds")
    if restarts:
        then += f" ({_with(ordinal(int(restarts)) + ' restart', ' in {}', window)})"
    return then


def _crashed(program: str, data: Data) -> str:
    line = _with(f"{program} crashed", ": {}", _ending(data))
    line = _with(line, " after {}", "" if data.get("unseen") else _span(data, "uptime_seconds"))
    return _with(line, "; {}", _following(data))


def _exited(program: str, data: Data) -> str:
    if why := _text(data, "why"):
        return f"{program} ended: {why}"
    line = _with(f"{program} ended as expected", ": {}", _ending(data))
    return _with(line, " after {}", "" if data.get("unseen") else _span(data, "uptime_seconds"))


def _with_pid(verb: str) -> Summary:
    def line(program: str, data: Data) -> str:
        pid = _number(data, "pid")
        return _with(f"{program} {verb}", " (pid {})", "" if pid is None else f"{pid:.0f}")

    return line


def _restarted(program: str, data: Data) -> str:
    restarts = _number(data, "restarts")
    line = _with(f"{program} was restarted", ": {}", _text(data, "why", "reason"))
    return _with(line, " ({} restart)", ordinal(int(restarts)) if restarts else "")


def _backoff(program: str, data: Data) -> str:
    attempt = _number(data, "attempt")
    line = _with(f"{program} waits before its next start", ": {}", _span(data, "delay_seconds"))
    return _with(line, " ({} attempt)", ordinal(int(attempt)) if attempt else "")


def _because(verb: str, *keys: str) -> Summary:
    return lambda program, data: _with(f"{program} {verb}", ": {}", _text(data, *keys))


def _stopped(program: str, data: Data) -> str:
    step, killed = _text(data, "step"), _number(data, "tree_killed")
    line = f"{program} had to be killed" if step == UNASKED_STEP else f"{program} stopped"
    line = _with(line, " after {}", _span(data, "seconds"))
    line = _with(line, " ({})", step if step != UNASKED_STEP else "")
    return _with(
        line, "; {} of its tree had to be killed", counted(int(killed), "process", "processes") if killed else ""
    )


def _scaled(program: str, data: Data) -> str:
    before, after = _number(data, "from"), _number(data, "to")
    if before is None or after is None:
        return f"{program} was scaled"
    return f"{program} was scaled from {before:g} to {counted(int(after), 'instance', 'instances')}"


def _updated(program: str, data: Data) -> str:
    changes = data.get("changes")
    return _with(
        f"{program} was changed", ": {}", ", ".join(map(str, changes)) if isinstance(changes, Mapping) else ""
    )


def _input(program: str, data: Data) -> str:
    line = _with(f"{program} was sent a line", ": {}", _text(data, "text").strip())
    return _with(line, " (not taken: {})", _text(data, "error"))


def _amount(data: Data, key: str) -> str:
    value = _number(data, key)
    return "" if value is None else quantity(value, _text(data, "unit"))


def _alert(program: str, data: Data) -> str:
    return _with(_with("Alert", " {}", _text(data, "rule", "name")), " for {}", program)


def _firing(program: str, data: Data) -> str:
    value = " ".join(filter(None, (_text(data, "measure"), _amount(data, "value"))))
    line = _with(_with(_alert(program, data), ": {}", value), " over {}", _span(data, "window_seconds"))
    limit = _amount(data, "threshold")
    return _with(line, " ({})", f"{_text(data, 'condition') or 'threshold'} {limit}" if limit else "")


def _resolved(program: str, data: Data) -> str:
    line = _with(_alert(program, data) + " is over", " after {}", _span(data, "seconds", "duration_seconds"))
    return _with(line, ": {}", _text(data, "why"))


def _plugin(verb: str) -> Summary:
    def line(program: str, data: Data) -> str:
        start = _with(_with("Plugin", " {}", _text(data, "plugin", "name")), " for {}", program)
        start = _with(f"{start} {verb}", " after {}", _span(data, "seconds", "duration_seconds"))
        return _with(start, ": {}", _text(data, "error", "reason"))

    return line


def _webhook_disabled(program: str, data: Data) -> str:
    return _with(
        _with("Webhook", " {}", _text(data, "webhook", "endpoint", "name")) + " was switched off",
        ": {}",
        _text(data, "reason", "error"),
    )


def _webhook_test(program: str, data: Data) -> str:
    return _with("This is a test of the webhook", " {}", _text(data, "webhook"))


def _agent_started(program: str, data: Data) -> str:
    adopted = _number(data, "adopted")
    line = _with("The agent", " on {}", _text(data, "host"))
    if silent := _span(data, "silent_seconds"):
        return f"{line} is heard again after {silent}"
    line += " started"
    return _with(line, "; {} went on running", counted(int(adopted), "program", "programs") if adopted else "")


def _agent_lost(program: str, data: Data) -> str:
    line = _with("The agent", " on {}", _text(data, "host")) + " is silent"
    line = _with(line, " for {}", _span(data, "silent_seconds", "seconds"))
    processes = _number(data, "processes")
    return _with(line, "; nobody watches {}", counted(int(processes), "process", "processes") if processes else "")


def _other(event_type: str) -> Summary:
    def line(program: str, data: Data) -> str:
        return _with(
            _with(event_type, " {}", program), ": {}", _text(data, "summary", "meaning", "reason", "why", "error")
        )

    return line


Summary = Callable[[str, Data], str]

SUMMARIES: dict[str, Summary] = {
    "program.created": _because("was created"),
    "program.removed": _because("was removed"),
    "program.updated": _updated,
    "program.started": _with_pid("started"),
    "program.running": _with_pid("is running"),
    "program.adopted": _with_pid("went on running and is watched again"),
    "program.restarted": _restarted,
    "program.exited": _exited,
    "program.crashed": _crashed,
    "program.backoff": _backoff,
    "program.fatal": _because("was given up", "reason", "meaning", "error"),
    "program.stopping": _because("is being stopped", "why", "reason"),
    "program.stopped": _stopped,
    "program.unhealthy": _because("is unhealthy", "detail", "reason"),
    "program.healthy": _because("is healthy", "detail"),
    "program.scaled": _scaled,
    "program.input": _input,
    "alert.firing": _firing,
    "alert.resolved": _resolved,
    "plugin.succeeded": _plugin("succeeded"),
    "plugin.failed": _plugin("failed"),
    "webhook.disabled": _webhook_disabled,
    "webhook.test": _webhook_test,
    "agent.started": _agent_started,
    "agent.lost": _agent_lost,
}
