"""Columns and panels that other apps add to the pages of programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from django.test import Client

from programs.admin import extensions
from programs.models import Program

from .conftest import LIST, MakeProgram


class Letters:
    name = "letters"
    title = "Letters"
    after = "title"
    script = "monitor/letters.js"

    def load(self, programs: Sequence[Program]) -> Mapping[int, int]:
        return {program.pk: len(program.name) for program in programs if program.name != "silent"}

    def cell(self, program: Program, found: int | None) -> str:
        return f"{program.name} has {found} letters"


def test_an_added_column_has_its_place_and_its_data(
    viewer: Client, program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "columns", [Letters()])
    program("web")
    program("silent")
    text = viewer.get(LIST).content.decode()
    assert "web has 3 letters" in text
    assert "silent has None letters" in text
    assert text.index("field-title") < text.index("field-letters") < text.index("field-state")
    assert "monitor/letters.js" in text


def test_an_added_panel_is_on_the_page_of_a_program(
    viewer: Client, program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "panels", ["admin/programs/program/restart_now.html"])
    web = program("web")
    assert f'formaction="{LIST}{web.pk}/restart/"' in viewer.get(f"{LIST}{web.pk}/change/").content.decode()


def test_pages_work_without_extensions(
    viewer: Client, program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "panels", [])
    monkeypatch.setattr(extensions, "columns", [])
    web = program("web")
    assert viewer.get(LIST).status_code == viewer.get(f"{LIST}{web.pk}/change/").status_code == 200
