"""Procfile: one program per line, `name: command`, run by a shell in the folder of the file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .draft import Draft, Imported, Source, gathered, placeholder
from .env_file import add_file

LINE = re.compile(r"([A-Za-z0-9_.-]+)\s*:\s*(\S.*)")
USES_PORT = re.compile(r"\$(?:PORT\b|\{PORT\b)")
# As foreman and honcho do: 5000 for the first line, plus 100 per line and 1 per instance.
FIRST_PORT, PORT_STEP = 5000, 100


def read(sources: Sequence[Source]) -> Imported:
    return gathered(_read_one(source) for source in sources)


def _read_one(source: Source) -> Imported:
    imported = Imported()
    for number, line in enumerate(source.text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:
            raise source.error("expected name: command", number)
        imported.add(_definition(found[1], found[2], source, len(imported.definitions)))
    if not imported.definitions:
        raise source.error("no line of the form name: command")
    return imported


def _definition(name: str, command: str, source: Source, place: int) -> Draft:
    draft = Draft(name)
    draft.fields |= {"command": command, "shell": True}
    if source.folder:
        draft.set("working_directory", source.folder)
        _dot_env(draft, source)
    else:
        draft.dropped("the folder of the file", "it is unknown; set working_directory")
    if USES_PORT.search(command) and "PORT" not in draft.variables:
        port = FIRST_PORT + PORT_STEP * place
        draft.variable("PORT", placeholder(port))
        draft.note(f"PORT is set to {port}, as foreman does")
    if name == "release":
        draft.fields |= {"autostart": False, "restart_policy": "never"}
        draft.note("release runs once per deployment, so it is not started automatically")
    return draft


def _dot_env(draft: Draft, source: Source) -> None:
    path = f"{source.folder}/.env"  # read by foreman and honcho
    if source.files.glob(path) and add_file(draft, source.files, path, key="variables"):
        draft.note(f"the variables in {path} were copied; later changes have no effect")
