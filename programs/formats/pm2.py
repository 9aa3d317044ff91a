"""PM2's ecosystem file: JSON, YAML, or JavaScript that holds nothing but data."""

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

# Other spellings PM2 takes for the same key.
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
HOLDERS = ("apps", "pm2")  # where the apps are, unless the file is an app or a list of apps itself
SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
TIME_UNITS = {"": 0.001, "s": 1, "m": 60, "h": 3600}
# What PM2 does with exp_backoff_restart_delay.
BACKOFF = {"backoff_factor": 1.5, "backoff_max": 15, "stable_seconds": 30}


def read(sources: Sequence[Source]) -> Imported:
    return gathered(_read_one(source) for source in sources)


def _read_one(source: Source) -> Imported:
    data = _data(source)
    imported = Imported()
    holder = next((key for key in HOLDERS if isinstance(data, dict) and key in data), None)
    if holder:
        for key in data:
            if key != holder:
                imported.note(f"{key}: not imported, it defines no app")
        data = data[holder]
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
    app, doubled = _spelled(given)
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
    for key in doubled:
        draft.dropped(key, "the same is said by another key")
    return draft


def _spelled(given: App) -> tuple[App, list[str]]:
    """The app with PM2's main spellings and without what is undefined; and the keys that said something twice."""
    app: App = {}
    doubled = []
    for key, value in sorted(given.items(), key=lambda pair: pair[0] in ALIASES):
        name = ALIASES.get(key, str(key))
        if value is None:
            continue
        if name in app:
            doubled.append(key)
        app.setdefault(name, value)
    return app, doubled


def _command(draft: Draft, app: App) -> None:
    """PM2 gives a script with a space to a shell, and chooses the interpreter of others by their ending."""
    script = app["script"]
    if " " in script:
        draft.fields |= {"command": script, "shell": True}
        for key in app.keys() & {"args", "interpreter", "node_args"}:
            draft.dropped(key, "PM2 gives a script with spaces to a shell, without it")
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
        draft.note("script: runs with bun, PM2's first choice; put another interpreter before it if you use one")
    elif ending not in INTERPRETERS and "/" in script:
        draft.note("script: runs by itself; PM2 would have given a text file to node")


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [_string(word) for word in value]
    return shlex.split(_string(value))


def _string(value: Any) -> str:
    """As JavaScript writes it into an environment."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def _folder(draft: Draft, app: App, source: Source) -> None:
    """PM2 starts in the folder it is called from, which is nearly always that of its file."""
    wanted = _string(app.get("cwd", "."))
    if folder := source.absolute(wanted):
        draft.set("working_directory", folder)
    else:
        draft.dropped(f"cwd {wanted}", "the folder of the file is not known; set working_directory")


Rule = Callable[[Draft, App, str], None]


def _no_counterpart(draft: Draft, app: App, key: str) -> None:
    draft.dropped(key)


def _elsewhere(draft: Draft, app: App, key: str) -> None:
    """The key is read together with others."""


def _dropped(why: str) -> Rule:
    return lambda draft, app, key: draft.dropped(key, why)


def _dropped_unless(harmless: bool, why: str) -> Rule:
    def rule(draft: Draft, app: App, key: str) -> None:
        if _string(app[key]) != _string(harmless):
            draft.dropped(key, why)

    return rule


def _number(app: App, key: str, units: Mapping[str, float], least: float = 0) -> float:
    """`300M`, `10s` or a bare number. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)([A-Za-z]?)B?", _string(app[key]))
    if found is None or found[2] not in units or float(found[1]) < least:
        raise ValueError(f"{key} cannot be {_string(app[key])[:80]}")
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
        draft.note(f"instances {text}: became {counts[text]}, by the processors of this machine")
    count = counts.get(text) or int(_number(app, key, {"": 1}, least=1))
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
            "cluster mode shares one port between the instances, here each is a process of its own: "
            "give each its port, for example PORT={instance+3000}"
        )


def _increment(draft: Draft, app: App, key: str) -> None:
    """The variable grows by one with every instance."""
    name = str(app[key])
    first = _string((app.get("env") or {}).get(name, 0))
    if not re.fullmatch(r"\d{1,9}", first):
        raise ValueError(f"{key} names {name}, which is no number in env")
    draft.variable(name, placeholder(int(first)))


def _stop_exit_codes(draft: Draft, app: App, key: str) -> None:
    given = app[key] if isinstance(app[key], list) else [app[key]]
    codes = [_string(code).strip('"') for code in given]
    if not all(re.fullmatch(r"\d{1,3}", code) and int(code) <= 255 for code in codes):
        raise ValueError(f"{key} must be numbers from 0 to 255")
    draft.fields |= {"restart_policy": "on-failure", "success_exit_codes": [int(code) for code in codes]}


def _restart_delay(draft: Draft, app: App, key: str) -> None:
    """PM2 waits the same time before each restart."""
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
    least = "; 0 became 1, since 0 means without limit here" if count == 0 else ""
    draft.note(f"{key}: counts every restart here, in PM2 only those before min_uptime{least}")


def _cron(draft: Draft, app: App, key: str) -> None:
    if (text := _string(app[key])) != "0":
        draft.set("restart_cron", text)


def _namespace(draft: Draft, app: App, key: str) -> None:
    if app[key] != "default":
        draft.tag(_string(app[key]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("name", "script", "args", "interpreter", "node_args", "cwd", "instance_var"), _elsewhere),
    "exec_mode": _elsewhere,
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
        "max_memory_bytes", int(_number(app, key, SIZE_UNITS, least=1))
    ),
    "cron_restart": _cron,
    "kill_timeout": lambda draft, app, key: draft.stop_with(seconds=_number(app, key, TIME_UNITS)),
    "uid": lambda draft, app, key: draft.set("user", _string(app[key])),
    "gid": _dropped("a program runs with the groups of its user"),
    "treekill": _dropped_unless(True, "the last SIGKILL always reaches the whole tree"),
    "shutdown_with_message": _dropped_unless(False, "it is stopped by a signal; add a step to stop_ladder"),
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
        _dropped("the log is kept by the monitor"),
    ),
    **dict.fromkeys(("time", "log_date_format", "log_type"), _dropped("a log is kept as the program writes it")),
}
# Some rules overrule others, so they are followed in the order above.
ORDER = {key: place for place, key in enumerate(RULES)}


def _rule(key: str) -> Rule:
    if re.fullmatch(r"env_\S+", key):
        return _dropped("it belongs to another --env; import the one you use as env")
    return RULES.get(key, _no_counterpart)
