"""All formats: detecting the kind, refusing duplicates, and definitions that the monitor accepts."""

from __future__ import annotations

import pytest

from programs import services
from programs.formats import KINDS, FormatError, guess, read, read_all
from programs.models import Host

from .samples import FOLDER, mentions, read_samples

SAMPLES = {
    "supervisord.conf": "supervisor",
    "conf.d/thumbs.conf": "supervisor",
    "ecosystem.config.js": "pm2",
    "processes.json": "pm2",
    "Procfile": "procfile",
    "web.service": "systemd",
    "minecraft@.service": "systemd",
    "programs.yaml": "yaml",
}


@pytest.mark.parametrize(("name", "kind"), SAMPLES.items())
def test_the_kind_is_guessed_from_name_or_content(name: str, kind: str) -> None:
    text = (FOLDER / name).read_text()
    assert guess(text, name) == kind
    assert guess(text, "") == kind


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("web: run", "Procfile.dev", "procfile"),
        ("{apps: []}", "x", "pm2"),
        ('{"programs": []}', "x.json", "yaml"),
        ("apps:\n- script: a.js", "process.yml", "pm2"),
        ("[]", "ecosystem.json", "pm2"),
        ("", "x.yaml", "yaml"),
        ("", "x.ini", "supervisor"),
        ("# /etc/systemd/system/a.service\n[Service]", "stdin", "systemd"),
    ],
)
def test_the_kind_of_a_short_text_is_guessed(text: str, name: str, kind: str) -> None:
    assert guess(text, name) == kind


@pytest.mark.parametrize("text", ["", "hello", "\x00", "<xml/>"])
def test_an_undetectable_kind_must_be_specified(text: str) -> None:
    with pytest.raises(FormatError, match="specify one of yaml, supervisor, pm2, procfile, systemd"):
        read(text, filename="unknown")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(FormatError, match="unknown kind 'docker'"):
        read("x", kind="docker")


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_is_too_long_is_refused(kind: str) -> None:
    with pytest.raises(FormatError, match="longer than a million"):
        read("x" * 1_000_001, kind=kind)


def test_a_byte_order_mark_is_ignored() -> None:
    assert read("\ufeff[program:a]\r\ncommand=b\r\n").definitions == [{"name": "a", "command": "b"}]


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(FormatError, match="same name: web"):
        read_all([("Procfile", "web: a"), ("web.service", "[Service]\nExecStart=/bin/web")])


def test_files_of_several_kinds_are_read_together() -> None:
    imported = read_all([("Procfile", "web: a"), ("x.yaml", "programs: [{name: db, command: d}]")])
    assert [found["name"] for found in imported.definitions] == ["web", "db"]


def test_text_that_becomes_a_placeholder_is_noted() -> None:
    assert mentions(read("web: echo {instance}", kind="procfile"), "", "replaced with the number of the instance")


@pytest.mark.django_db
@pytest.mark.parametrize("name", SAMPLES)
def test_the_monitor_accepts_what_was_read(name: str) -> None:
    """On another host, because this one lacks the users and folders of the samples."""
    Host.objects.create(name="elsewhere")
    imported = read_samples(name)
    for found in imported.definitions:
        environment = [entry for entry in found.get("environment", []) if not entry.get("secret")]
        later = {"environment": environment, "host": "elsewhere", "depends_on": []}
        saved = services.save_definition({**found, **later}, actor="test")
        assert saved.program.name == found["name"]
