"""`program import` and `program export`: all or nothing, and an export can be imported unchanged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from programs import services
from programs.definition.conversion import definition_json
from programs.models import Program, ProgramRevision

from .program_command import program

pytestmark = pytest.mark.django_db

FILE = """
programs:
- name: web
  command: sleep 1
  depends_on: [{program: db, condition: healthy}]
- name: db
  command: sleep 2
  tags: [data]
"""


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.RUN_DIR = tmp_path / "run"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "programs.yaml"
    path.write_text(FILE)
    return path


def names() -> list[str]:
    return list(Program.objects.values_list("name", flat=True))


def test_dependencies_are_created_first(file: Path) -> None:
    done = program("import", str(file))
    assert (done.code, done.lines) == (0, ["db: created", "web: created"])
    assert Program.objects.get(name="web").dependencies.get().requires.name == "db"


def test_one_error_undoes_the_whole_import(file: Path) -> None:
    file.write_text(FILE.replace("sleep 2", "sleep 'open"))
    done = program("import", str(file))
    assert (done.code, names()) == (1, [])
    assert "db: command: The command can't be split into words: No closing quotation." in done.err
    assert "web: depends_on: db could not be imported" in done.err
    assert done.err.endswith("Nothing was imported.\n")


def test_an_existing_program_is_changed_only_with_update(file: Path) -> None:
    services.save_definition({"name": "db", "command": "true", "nice": 5}, actor="tester")
    assert program("import", str(file)).code == 1
    done = program("import", "--update", str(file))
    assert done.lines == [
        "db: updated (command, tags, nice); command, nice after the next restart",
        "web: created",
    ]
    assert Program.objects.get(name="db").nice is None


def test_a_second_import_changes_nothing(file: Path) -> None:
    program("import", str(file))
    done = program("import", "--update", str(file))
    assert (done.code, done.lines) == (0, ["db: unchanged", "web: unchanged"])
    assert ProgramRevision.objects.count() == 2


def test_a_dry_run_reports_and_saves_nothing(file: Path) -> None:
    done = program("import", "--dry-run", "--json", str(file))
    assert done.json["imported"] is False
    assert [(entry["name"], entry["outcome"]) for entry in done.json["programs"]] == [
        *(("db", "created"), ("web", "created"))
    ]
    assert names() == []


def test_a_circular_dependency_in_the_file_is_reported(file: Path) -> None:
    file.write_text(FILE + "  depends_on: [{program: web}]\n")
    done = program("import", str(file))
    assert (done.code, names()) == (1, [])
    assert "circular dependency" in done.err


def test_notes_say_what_was_not_imported() -> None:
    ini = "[program:web]\ncommand=sleep 1\nstdout_events_enabled=true\n"
    done = program("import", "--kind", "supervisor", "-", stdin=ini)
    assert (done.code, names()) == (0, ["web"])
    assert any(line.startswith("note: web: stdout_events_enabled") for line in done.lines)


@pytest.mark.parametrize("text", ["", "programs: [", "programs: 7", "\x00"])
def test_a_file_that_cannot_be_understood_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    done = program("import", "--kind", "yaml", str(file))
    assert (done.code, names()) == (1, [])
    assert done.err


def test_a_file_that_is_missing_or_not_utf8_is_reported(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"\xff\xfe\xff")
    assert "isn't UTF-8 text" in program("import", str(file)).err
    assert "No such file" in program("import", str(tmp_path / "none")).err
    assert "Is a directory" in program("import", str(tmp_path)).err


def test_an_export_can_be_imported_unchanged(file: Path, tmp_path: Path) -> None:
    program("import", str(file))
    before = [definition_json(found) for found in Program.objects.all()]
    done = program("export", "-o", str(tmp_path / "out.yaml"))
    assert done.err == f"2 programs written to {tmp_path}/out.yaml\n"
    Program.objects.order_by("-id")[0].delete()  # web needs db
    Program.objects.all().delete()
    assert program("import", str(tmp_path / "out.yaml")).code == 0
    assert [definition_json(found) for found in Program.objects.all()] == before


def test_an_export_contains_the_selected_programs_without_secrets(file: Path) -> None:
    program("import", str(file))
    program("add", "--secret-env", "TOKEN", "safe", "cat", stdin="s3cret\n")
    done = program("export", "safe")
    assert ("safe" in done.out, "s3cret" in done.out, "web" in done.out) == (True, False, False)
    assert [entry["name"] for entry in program("export", "--tag", "data", "--json").json] == ["db"]


def test_an_export_is_private_and_replaces_a_file_in_one_step(file: Path, tmp_path: Path) -> None:
    program("import", str(file))
    target = tmp_path / "out.yaml"
    target.symlink_to(tmp_path / "real.yaml")
    assert program("export", "-o", str(target)).code == 0
    assert target.is_symlink()
    assert (tmp_path / "real.yaml").stat().st_mode & 0o777 == 0o600


def test_an_export_never_replaces_a_device(tmp_path: Path) -> None:
    assert program("export", "-o", os.devnull).code == 0
    assert not Path(os.devnull).is_file()
    done = program("export", "-o", str(tmp_path / "none" / "out.yaml"))
    assert (done.code, done.err) == (1, f"Can't write {tmp_path}/none/out.yaml: No such file or directory\n")
