"""Procfile: one program per line."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.formats import FormatError, Imported, read

from .samples import FOLDER, definition, mentions, read_samples


@pytest.fixture(scope="module")
def sample() -> Imported:
    return read_samples("Procfile")


def test_every_line_is_a_program_for_a_shell_in_the_folder_of_the_file(sample: Imported) -> None:
    assert [found["name"] for found in sample.definitions] == ["web", "worker", "css", "release"]
    assert definition(sample, "css") == {
        "name": "css",
        "command": "yarn build:css --watch 2>&1 | tee log/css.log",
        "shell": True,
        "working_directory": str(FOLDER),
    }


def test_a_command_with_a_port_gets_the_port_of_foreman(sample: Imported) -> None:
    assert definition(sample, "web")["environment"] == [{"name": "PORT", "value": "{instance+5000}"}]
    assert mentions(sample, "web", "PORT is set to 5000")
    assert "environment" not in definition(sample, "worker")


def test_a_release_is_not_started_automatically(sample: Imported) -> None:
    assert definition(sample, "release")["autostart"] is False
    assert definition(sample, "release")["restart_policy"] == "never"


def test_variables_beside_the_file_are_copied(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('PORT=8080\nexport NAME=\'a b\'\n# comment\nQUOTED="x\\"y\n2nd line"\n')
    (web,) = read("web: serve $PORT", filename=str(tmp_path / "Procfile")).definitions
    assert {entry["name"]: entry["value"] for entry in web["environment"]} == {
        "PORT": "8080",
        "NAME": "a b",
        "QUOTED": 'x"y\n2nd line',
    }


@pytest.mark.parametrize("text", ["A=1\nnot an assignment: s3cret", "A=1\nB='s3cret"])
def test_unreadable_variables_are_noted_without_values(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text(text)
    imported = read("web: serve", filename=str(tmp_path / "Procfile"))
    assert mentions(imported, "web", "line 2")
    assert not mentions(imported, "web", "s3cret")


def test_without_the_folder_of_the_file_a_note_asks_for_it() -> None:
    imported = read("web: serve", filename="Procfile")
    assert mentions(imported, "web", "set working_directory")


def test_an_invalid_line_is_refused_with_its_number() -> None:
    with pytest.raises(FormatError, match=r"Procfile, line 3: expected name: command"):
        read("web: serve\n\nworker", filename="Procfile")


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="no line"):
        read(text, filename="Procfile")
