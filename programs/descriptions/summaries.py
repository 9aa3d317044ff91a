"""One-line summaries of events, for the admin, webhooks and logs. A missing key shortens the line.

The keys used of an event's data:

- exits: `exit_code exit_signal out_of_memory meaning uptime_seconds unseen why`, and if a restart follows:
  `delay_seconds` (0: now), `restarts` (within `window_seconds`)
- starts: `pid restarts` · backoff: `delay_seconds attempt` · fatal: `reason` · stopping: `why`
- stopped: `step seconds tree_killed` · health: `detail` · scaled: `from to` · updated: `changes`
- alerts: `rule value threshold` with their `unit`, `measure condition window_seconds`; resolved: `seconds why`
- plugins: `plugin seconds error` · webhooks: `webhook reason`
- agents: `host adopted silent_seconds processes`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .quantities import counted, duration, ordinal, quantity

Data = Mapping[str, Any]
MAX_LENGTH = 500
MAX_NUMBER = 10**15
KILL_STEP = "signal:KILL"


def summary(event_type: str, program: str, data: Data | None = None) -> str:
    """At most 500 characters. `program` is its name, empty for events of the monitor itself."""
    line = SUMMARIES.get(event_type, _other(event_type))(program, data or {})
    line = " ".join(line.split())
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"


def _text(data: Data, *keys: str) -> str:
    return next((data[key] for key in keys if isinstance(data.get(key), str) and data[key]), "")


def _number(data: Data, *keys: str) -> float | None:
    found = (data[key] for key in keys if type(data.get(key)) in (int, float))
    # Data comes from plugins too: refuse NaN, infinity and numbers that formatting cannot handle.
    return next((number for number in found if -MAX_NUMBER < number < MAX_NUMBER), None)


def _duration(data: Data, *keys: str) -> str:
    seconds = _number(data, *keys)
    return "" if seconds is None else duration(seconds)


def _append(line: str, template: str, value: str) -> str:
    return line + template.format(value) if value else line


def _mid_sentence(text: str) -> str:
    """Lowers the first letter, except in words such as `SIGKILL`."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _exit_text(data: Data) -> str:
    if data.get("out_of_memory") is True:
        return "killed because memory ran out"
    if signal := _text(data, "exit_signal"):
        return f"killed by {signal}"
    code = _number(data, "exit_code")
    if code is not None:
        return f"exit code {code:g}" if 0 <= code <= 255 else f"exit code 0x{int(code) & 0xFFFFFFFF:08X}"
    return _mid_sentence(_text(data, "meaning", "reason"))


def _next_step(data: Data) -> str:
    delay = _number(data, "delay_seconds")
    if delay is None:
        return ""
    then = f"restarting in {duration(delay)}" if delay else "restarting now"
    restarts, window = _number(data, "restarts"), _duration(data, "window_seconds")
    if restarts:
        then += f" ({_append(ordinal(int(restarts)) + ' restart', ' in {}', window)})"
    return then


def _crashed(program: str, data: Data) -> str:
    line = _append(f"{program} crashed", ": {}", _exit_text(data))
    line = _append(line, " after {}", "" if data.get("unseen") else _duration(data, "uptime_seconds"))
    return _append(line, "; {}", _next_step(data))


def _exited(program: str, data: Data) -> str:
    if why := _text(data, "why"):
        return f"{program} exited: {why}"
    line = _append(f"{program} exited normally", ": {}", _exit_text(data))
    return _append(line, " after {}", "" if data.get("unseen") else _duration(data, "uptime_seconds"))


def _with_pid(verb: str) -> Summary:
    def line(program: str, data: Data) -> str:
        pid = _number(data, "pid")
        return _append(f"{program} {verb}", " (pid {})", "" if pid is None else f"{pid:.0f}")

    return line


def _restarted(program: str, data: Data) -> str:
    restarts = _number(data, "restarts")
    line = _append(f"{program} was restarted", ": {}", _text(data, "why", "reason"))
    return _append(line, " ({} restart)", ordinal(int(restarts)) if restarts else "")


def _backoff(program: str, data: Data) -> str:
    attempt = _number(data, "attempt")
    line = _append(f"{program} will be restarted", " in {}", _duration(data, "delay_seconds"))
    return _append(line, " (attempt {})", f"{attempt:.0f}" if attempt else "")


def _with_reason(verb: str, *keys: str) -> Summary:
    return lambda program, data: _append(f"{program} {verb}", ": {}", _text(data, *keys))


def _stopped(program: str, data: Data) -> str:
    step, killed = _text(data, "step"), _number(data, "tree_killed")
    line = f"{program} had to be killed" if step == KILL_STEP else f"{program} stopped"
    line = _append(line, " after {}", _duration(data, "seconds"))
    line = _append(line, " ({})", step if step != KILL_STEP else "")
    return _append(
        line, "; {} of its tree had to be killed", counted(int(killed), "process", "processes") if killed else ""
    )


def _scaled(program: str, data: Data) -> str:
    before, after = _number(data, "from"), _number(data, "to")
    if before is None or after is None:
        return f"{program} was scaled"
    return f"{program} was scaled from {before:g} to {counted(int(after), 'instance', 'instances')}"


def _updated(program: str, data: Data) -> str:
    changes = data.get("changes")
    return _append(
        f"{program} was updated", ": {}", ", ".join(map(str, changes)) if isinstance(changes, Mapping) else ""
    )


def _input(program: str, data: Data) -> str:
    line = _append(f"{program} received input", ": {}", _text(data, "text").strip())
    return _append(line, " (failed: {})", _text(data, "error"))


def _amount(data: Data, key: str) -> str:
    value = _number(data, key)
    return "" if value is None else quantity(value, _text(data, "unit"))


def _alert(program: str, data: Data) -> str:
    return _append(_append("Alert", " {}", _text(data, "rule", "name")), " for {}", program)


def _firing(program: str, data: Data) -> str:
    value = " ".join(filter(None, (_text(data, "measure"), _amount(data, "value"))))
    line = _append(_append(_alert(program, data), ": {}", value), " over {}", _duration(data, "window_seconds"))
    limit = _amount(data, "threshold")
    return _append(line, " ({})", f"{_text(data, 'condition') or 'threshold'} {limit}" if limit else "")


def _resolved(program: str, data: Data) -> str:
    line = _append(
        _alert(program, data) + " resolved", " after {}", _duration(data, "seconds", "duration_seconds")
    )
    return _append(line, ": {}", _text(data, "why"))


def _plugin(verb: str) -> Summary:
    def line(program: str, data: Data) -> str:
        start = _append(_append("Plugin", " {}", _text(data, "plugin", "name")), " for {}", program)
        start = _append(f"{start} {verb}", " after {}", _duration(data, "seconds", "duration_seconds"))
        return _append(start, ": {}", _text(data, "error", "reason"))

    return line


def _webhook_disabled(program: str, data: Data) -> str:
    return _append(
        _append("Webhook", " {}", _text(data, "webhook", "endpoint", "name")) + " was disabled",
        ": {}",
        _text(data, "reason", "error"),
    )


def _webhook_test(program: str, data: Data) -> str:
    return _append("Test message of webhook", " {}", _text(data, "webhook"))


def _agent_started(program: str, data: Data) -> str:
    adopted = _number(data, "adopted")
    line = _append("The agent", " on {}", _text(data, "host"))
    if silent := _duration(data, "silent_seconds"):
        return f"{line} is back after {silent} without heartbeat"
    line += " started"
    return _append(line, "; {} kept running", counted(int(adopted), "program", "programs") if adopted else "")


def _agent_lost(program: str, data: Data) -> str:
    line = _append("The agent", " on {}", _text(data, "host")) + " sends no heartbeat"
    line = _append(line, "; the last one was {} ago", _duration(data, "silent_seconds", "seconds"))
    processes = _number(data, "processes")
    return _append(
        line, "; {} not supervised", counted(int(processes), "process is", "processes are") if processes else ""
    )


def _other(event_type: str) -> Summary:
    def line(program: str, data: Data) -> str:
        return _append(
            _append(event_type, " {}", program),
            ": {}",
            _text(data, "summary", "meaning", "reason", "why", "error"),
        )

    return line


Summary = Callable[[str, Data], str]

SUMMARIES: dict[str, Summary] = {
    "program.created": _with_reason("was created"),
    "program.removed": _with_reason("was removed"),
    "program.updated": _updated,
    "program.started": _with_pid("started"),
    "program.running": _with_pid("is running"),
    "program.adopted": _with_pid("kept running and was adopted"),
    "program.restarted": _restarted,
    "program.exited": _exited,
    "program.crashed": _crashed,
    "program.backoff": _backoff,
    "program.fatal": _with_reason("failed permanently", "reason", "meaning", "error"),
    "program.stopping": _with_reason("is being stopped", "why", "reason"),
    "program.stopped": _stopped,
    "program.unhealthy": _with_reason("is unhealthy", "detail", "reason"),
    "program.healthy": _with_reason("is healthy", "detail"),
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
