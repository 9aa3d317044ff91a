"""The data that a browser posts for a form."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from programs.forms import ProgramForm


def filled(**changes: Any) -> dict[str, Any]:
    """The data for a new program with `changes`; None removes a field."""
    posted = {**what_is_posted(ProgramForm()), "name": "web", "command": "sleep 60", **changes}
    return {name: value for name, value in posted.items() if value is not None}


def what_is_posted(form: ProgramForm) -> dict[str, str]:
    """The names and values of the rendered, unchanged form."""
    reader = Reader()
    reader.feed("".join(str(form[name]) for name in form.fields))
    return reader.posted


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.posted: dict[str, str] = {}
        self._area = self._select = ""
        self._in_template = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "template":
            self._in_template = True
        elif self._in_template:
            return
        elif tag == "input" and name:
            self._input(name, given)
        elif tag == "textarea":
            self._area, self.posted[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self.posted[self._select] = given.get("value") or ""

    def _input(self, name: str, given: dict[str, str | None]) -> None:
        if given.get("type") != "checkbox":
            self.posted[name] = given.get("value") or ""
        elif "checked" in given:
            self.posted[name] = "on"

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._in_template = False
        elif tag == "textarea" and self._area:
            # HTML drops the first line break of a textarea.
            self.posted[self._area] = self.posted[self._area].removeprefix("\n")
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.posted[self._area] += data
