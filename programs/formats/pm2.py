"""Ecosystem files of PM2: JSON, YAML, or JavaScript with data only."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from .draft import Draft, Imported, Source, gathered, placeholder
from .json5 import Json5Reader
from .yaml_nodes import compose, construct

App = dict[str, Any]

# Other names that PM2 accepts for a key.
ALIASES = {
    "exec": "script",
    "cmd": "script",
    "command": "script",
    "exec_interpreter": "interpreter",
    "interpreterArgs": "node_args",
    "interpreter_args": "node_args",
    "cron": "cron_restart",
    "user": "uid",
}
INTERPRETERS = {
    ".js": "node", ".cjs": "node", ".mjs": "node", ".py": "python3", ".sh": "bash", ".rb": "ruby", ".php": "php",
    ".pl": "perl", ".coffee": "coffee", ".ls": "lsc", ".ts": "bun", ".tsx": "bun",
}  # fmt: skip
APP_KEYS = ("apps", "pm2")  # keys of the list of apps; the file can also be an app or a list of apps itself
SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
TIME_UNITS = {"": 0.001, "s": 1, "m": 60, "h": 3600}
# The behaviour of PM2 with exp_backoff_restart_delay.
BACKOFF = {"backoff_factor": 1.5, "backoff_max": 15, "stable_seconds": 30}


def read(sources: Sequence[Source]) -> Imported:
    return gathered(_read_one(source) for source in sources)


def _read_one(source: Source) -> Imported:
    data = _data(source)
    imported = Imported()
    app_key = next((key for key in APP_KEYS if isinstance(data, dict) and key in data), None)
    if app_key:
        for key in data:
            if key != app_key:
                imported.note(f"{key}: not imported, it defines no app")
        data = data[app_key]
    apps = data if isinstance(data, list) else [data]
    for app in apps:
        if not isinstance(app, dict):
            raise source.error(f"an app must be an object, not {json.dumps(app, default=str)[:80]}")
        imported.add(_definition(app, source))
    return imported


def _data(source: Source) -> Any:
    if not source.filename.endswith((".yaml", ".yml")):
        names = {"__dirname": source.folder} if source.folder else {}
        return Json5Reader(source.text, filename=source.filename, names=names).read()
    return construct(compose(source), source)


def _definition(given: App, source: Source) -> Draft:
    app, duplicates = _normalise(given)
    if not isinstance(app.get("script"), str) or not app["script"].strip():
        raise source.error(f"the app {str(app.get('name', '?'))[:100]!r} has no script")
    draft = Draft(str(app.get("name") or PurePath(app["script"]).stem))
    draft.set("restart_policy", "always")
    draft.stop_with(signal="INT")
    try:
        _command(draft, app)
        _folder(draft, app, source)
        for key in sorted(app, key=lambda key: ORDER.get(key, len(ORDER))):
            _rule(key)(draft, app, key)
    except ValueError as error:
        raise source.error(f"the app {draft.name!r}: {error}") from error
    for key in duplicates:
        draft.dropped(key, "another key has the same meaning")
    return draft


def _normalise(given: App) -> tuple[App, list[str]]:
    """Replaces aliases and removes undefined values. Also returns the keys whose value was set twice."""
    app: App = {}
    duplicates = []
    for key, value in sorted(given.items(), key=lambda pair: pair[0] in ALIASES):
        name = ALIASES.get(key, str(key))
        if value is None:
            continue
        if name in app:
            duplicates.append(key)
        app.setdefault(name, value)
    return app, duplicates


def _command(draft: Draft, app: App) -> None:
    """PM2 passes a script with a space to a shell, and selects the interpreter of others by extension."""
    script = app["script"]
    if " " in script:
        draft.fields |= {"command": script, "shell": True}
        for key in app.keys() & {"args", "interpreter", "node_args"}:
            draft.dropped(key, "PM2 ignores it for a script with spaces, which a shell runs")
        return
    ending = PurePath(script).suffix
    interpreter = str(app.get("interpreter") or INTERPRETERS.get(ending, "none"))
    words = [script, *_words(app.get("args", []))]
    if interpreter != "none":
        words = [*shlex.split(interpreter), *_words(app.get("node_args", [])), *words]
    elif "node_args" in app:
        draft.dropped("node_args", "no interpreter is used")
    draft.set("command", shlex.join(words))
    if "interpreter" not in app:
        _explain_interpreter(draft, script, ending)


def _explain_interpreter(draft: Draft, script: str, ending: str) -> None:
    if ending in (".ts", ".tsx"):
        draft.note("script: runs with bun, the default of PM2; change the command for another interpreter")
    elif ending not in INTERPRETERS and "/" in script:
        draft.note("script: is executed directly; PM2 would run a text file with node")


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [_string(word) for word in value]
    return shlex.split(_string(value))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def _folder(draft: Draft, app: App, source: Source) -> None:
    """PM2 starts programs in its current folder, almost always the folder of the file."""
    wanted = _string(app.get("cwd", "."))
    if folder := source.absolute(wanted):
        draft.set("working_directory", folder)
    else:
        draft.dropped(f"cwd {wanted}", "the folder of the file is unknown; set working_directory")


Rule = Callable[[Draft, App, str], None]


def _no_counterpart(draft: Draft, app: App, key: str) -> None:
    draft.dropped(key)


def _read_elsewhere(draft: Draft, app: App, key: str) -> None:
    """The key is read together with another one."""


def _dropped(why: str) -> Rule:
    return lambda draft, app, key: draft.dropped(key, why)


def _dropped_unless(harmless: bool, why: str) -> Rule:
    def rule(draft: Draft, app: App, key: str) -> None:
        if _string(app[key]) != _string(harmless):
            draft.dropped(key, why)

    return rule


def _number(app: App, key: str, units: Mapping[str, float], minimum: float = 0) -> float:
    """`300M`, `10s` or a number. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)([A-Za-z]?)B?", _string(app[key]))
    if found is None or found[2] not in units or float(found[1]) < minimum:
        raise ValueError(f"invalid {key}: {_string(app[key])[:80]}")
    return _neat(float(found[1]) * units[found[2]])


def _neat(number: float) -> float:
    rounded = round(number, 6)
    return int(rounded) if rounded.is_integer() else rounded


def _boolean(app: App, key: str) -> bool:
    if (text := _string(app[key])) not in ("true", "false"):
        raise ValueError(f"{key} is neither true nor false")
    return text == "true"


def _environment(draft: Draft, app: App, key: str) -> None:
    if not isinstance(app[key], dict):
        raise ValueError("env must be an object")
    for name, value in app[key].items():
        if value is None:
            draft.dropped(f"variable {name!r}", "it has no value")
        else:
            draft.variable(str(name), _string(value))


def _instances(draft: Draft, app: App, key: str) -> None:
    text = _string(app[key])
    processors = os.cpu_count() or 1
    counts = {"max": processors, "0": processors, "-1": max(processors - 1, 1)}
    if text in counts:
        draft.note(f"instances {text}: became {counts[text]}, the number of processors of this machine")
    count = counts.get(text) or int(_number(app, key, {"": 1}, minimum=1))
    if count > 1000:
        raise ValueError("at most 1000 instances")
    if count > 1:
        draft.instances(count)
        draft.variable(str(app.get("instance_var", "NODE_APP_INSTANCE")), "{instance}")
        _explain_cluster(draft, app)


def _explain_cluster(draft: Draft, app: App) -> None:
    runs_node = str(draft.fields["command"]).startswith("node ")
    if str(app.get("exec_mode", "cluster" if runs_node else "fork")).startswith("cluster"):
        draft.note(
            "cluster mode shares one port between the instances; here each instance needs its own, "
            "for example PORT={instance+3000}"
        )


def _increment(draft: Draft, app: App, key: str) -> None:
    name = str(app[key])
    first = _string((app.get("env") or {}).get(name, 0))
    if not re.fullmatch(r"\d{1,9}", first):
        raise ValueError(f"{key} names {name}, which is not a number in env")
    draft.variable(name, placeholder(int(first)))


def _stop_exit_codes(draft: Draft, app: App, key: str) -> None:
    given = app[key] if isinstance(app[key], list) else [app[key]]
    codes = [_string(code).strip('"') for code in given]
    if not all(re.fullmatch(r"\d{1,3}", code) and int(code) <= 255 for code in codes):
        raise ValueError(f"{key} must be numbers from 0 to 255")
    draft.fields |= {"restart_policy": "on-failure", "success_exit_codes": [int(code) for code in codes]}


def _restart_delay(draft: Draft, app: App, key: str) -> None:
    if (delay := _number(app, key, TIME_UNITS)) > 0:
        draft.fields |= {"backoff_initial": delay, "backoff_factor": 1, "backoff_max": max(delay, 300)}


def _growing_delay(draft: Draft, app: App, key: str) -> None:
    if (delay := _number(app, key, TIME_UNITS)) > 0:
        draft.fields |= {"backoff_initial": delay, **BACKOFF}


def _autorestart(draft: Draft, app: App, key: str) -> None:
    if not _boolean(app, key):
        draft.set("restart_policy", "never")


def _max_restarts(draft: Draft, app: App, key: str) -> None:
    count = int(_number(app, key, {"": 1}))
    draft.set("max_restarts", max(count, 1))
    minimum = "; 0 became 1, because 0 means unlimited here" if count == 0 else ""
    draft.note(f"{key}: counts every restart; PM2 counts only those before min_uptime{minimum}")


def _cron(draft: Draft, app: App, key: str) -> None:
    if (text := _string(app[key])) != "0":
        draft.set("restart_cron", text)


def _namespace(draft: Draft, app: App, key: str) -> None:
    if app[key] != "default":
        draft.tag(_string(app[key]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("name", "script", "args", "interpreter", "node_args", "cwd", "instance_var"), _read_elsewhere
    ),
    "exec_mode": _read_elsewhere,
    "env": _environment,
    "port": lambda draft, app, key: draft.variable("PORT", _string(app[key])),
    "namespace": _namespace,
    "instances": _instances,
    "increment_var": _increment,
    "autostart": lambda draft, app, key: draft.set("autostart", _boolean(app, key)),
    "stop_exit_codes": _stop_exit_codes,
    "autorestart": _autorestart,
    "max_restarts": _max_restarts,
    "min_uptime": lambda draft, app, key: draft.set("start_seconds", _number(app, key, TIME_UNITS)),
    "restart_delay": _restart_delay,
    "exp_backoff_restart_delay": _growing_delay,
    "max_memory_restart": lambda draft, app, key: draft.set(
        "max_memory_bytes", int(_number(app, key, SIZE_UNITS, minimum=1))
    ),
    "cron_restart": _cron,
    "kill_timeout": lambda draft, app, key: draft.stop_with(seconds=_number(app, key, TIME_UNITS)),
    "uid": lambda draft, app, key: draft.set("user", _string(app[key])),
    "gid": _dropped("a program runs with the groups of its user"),
    "treekill": _dropped_unless(True, "the final SIGKILL always reaches the whole process tree"),
    "shutdown_with_message": _dropped_unless(False, "it is stopped with a signal; add a step to stop_ladder"),
    "wait_ready": _dropped_unless(False, "use a readiness probe"),
    "watch": _dropped_unless(False, "files are not watched"),
    **dict.fromkeys(
        (
            "out_file",
            "error_file",
            "log_file",
            "out",
            "output",
            "error",
            "err",
            "log",
            "merge_logs",
            "combine_logs",
        ),
        _dropped("the monitor stores the log"),
    ),
    **dict.fromkeys(("time", "log_date_format", "log_type"), _dropped("the log contains the unchanged output")),
}
# Later rules override earlier ones, so the order matters.
ORDER = {key: index for index, key in enumerate(RULES)}


def _rule(key: str) -> Rule:
    if re.fullmatch(r"env_\S+", key):
        return _dropped("it belongs to another --env; rename the one you use to env")
    return RULES.get(key, _no_counterpart)
