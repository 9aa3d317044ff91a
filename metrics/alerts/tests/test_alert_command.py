"""`manage.py alert`."""

from __future__ import annotations

import json
import time

import pytest

from core.cli.subcommand import Subcommand
from core.models import AuditEntry
from metrics.alerts.models import AlertRule
from metrics.management.commands.alert import SUBCOMMANDS
from metrics.storage.tiers import RAW
from metrics.tests.history import store_usage
from programs.tests.program_command import Done, command

from .factories import alert, program, record_host, rule

pytestmark = pytest.mark.django_db
GIGABYTE = 1024**3


def run(*words: str, answers: str | None = None) -> Done:
    return command("alert", *words, answers=answers)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_loads_and_has_help(name: str) -> None:
    assert isinstance(SUBCOMMANDS[name].load(), Subcommand)
    assert SUBCOMMANDS[name].help


def test_a_rule_is_created_with_options() -> None:
    web = program("web")
    done = run(
        *("add", "leak", "memory_bytes", "above", "1.5GB", "--clear", "1GB", "--window", "10m"),
        *("--severity", "error", "--program", "web", "--tag", "front", "--off"),
    )
    assert done.code == 0, done.err
    made = AlertRule.objects.get()
    assert (made.threshold, made.clear_threshold, made.window_seconds) == (1.5 * GIGABYTE, GIGABYTE, 600)
    assert (made.programs, made.tags, made.severity, made.enabled) == ([web.pk], ["front"], "error", False)
    assert AuditEntry.objects.get().actor.endswith("(command line)")


@pytest.mark.parametrize(
    ("typed", "level"),
    [("90", 90), ("90%", 90), ("512B", 512), ("10 MB/s", 10 * 1024**2), ("2gb", 2 * GIGABYTE), ("0.5kb", 512)],
)
def test_thresholds_may_have_a_unit(typed: str, level: float) -> None:
    assert run("add", "x", "threads", "above", typed).code == 0
    assert AlertRule.objects.get().threshold == level


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "x", "warmth", "above", "5"), 2, "invalid choice"),
        (("add", "x", "threads", "beside", "5"), 2, "invalid choice"),
        (("add", "x", "threads", "above", "much"), 2, "not a value"),
        (("add", "x", "threads", "above", "5", "--window", "soon"), 2, "isn't a duration"),
        (("add", "x", "threads", "above", "5", "--window", "1s"), 1, "between 10"),
        (("add", "x", "threads", "above", "5", "--clear", "9"), 1, "above the threshold (5)"),
        (("add", "hot", "threads", "above", "5"), 1, "already exists"),
        (("add", "x", "threads", "above", "5", "--program", "nix"), 1, "nix"),
        (("remove", "hott", "-y"), 1, "Did you mean hot?"),
        (("enable", "4711"), 1, "no alert rule"),
        (("backtest", "hot", "--hours", "200"), 2, "up to 168"),
        (("firing", "-n", "0"), 2, "from 1 to 1000"),
    ],
)
def test_invalid_arguments_are_explained(words: tuple[str, ...], code: int, said: str) -> None:
    rule("hot")
    done = run(*words)
    assert (done.code, said in done.err) == (code, True), done.err


def test_a_rule_is_disabled_enabled_and_removed() -> None:
    made = rule("hot")
    assert run("disable", "hot").lines == ["hot: disabled"]
    assert run("disable", str(made.pk)).lines == ["hot: already disabled"]
    assert run("enable", "hot").lines == ["hot: enabled"]
    assert run("remove", "hot").code == 1
    assert run("remove", "hot", answers="n\n").code == 1
    assert run("remove", "hot", "--yes").lines == ["hot: removed"]
    assert not AlertRule.objects.exists()


def test_rules_are_listed_with_their_firing_alerts() -> None:
    web = program()
    made = rule("hot", tags=["front"], programs=[web.pk, 4711])
    alert(made, web)
    rule("off", enabled=False)
    done = run("list")
    assert [line.split()[0] for line in done.lines] == ["name", "hot", "off"]
    assert "1 firing" in done.lines[1] and "cpu_percent above 90 % over 1m" in done.lines[1]
    assert "web, (removed), #front" in done.lines[1] and "all programs" in done.lines[2]
    assert [each["firing"] for each in json.loads(run("list", "--json").out)] == [1, 0]


def test_an_empty_list_explains_how_to_add_a_rule() -> None:
    assert "alert add" in run("list").err
    assert run("firing").err.strip() == "No alert is firing."


def test_firing_alerts_are_listed_and_with_all_also_resolved_ones() -> None:
    made, web = rule("hot"), program("web")
    alert(made, web, age=75)
    alert(rule("leak", metric="memory_bytes"), web, age=7200, lasted=3600, value=2 * GIGABYTE)
    assert len(run("firing").lines) == 2
    lines = run("firing", "--all").lines
    assert "firing" in lines[1] and "95 %" in lines[1] and "1m 15s" in lines[1]
    assert "recovered" in lines[2] and "2.0 GB" in lines[2]
    assert len(json.loads(run("firing", "--all", "--json").out)) == 2


def test_a_rule_is_backtested() -> None:
    start = int(time.time()) // 60 * 60 - 900
    record_host(start, start + 600)
    web = program("web")
    for number in range(60):
        store_usage(RAW, web, start + 10 * number, cpu=95 if number < 30 else 5)
    rule("hot")
    done = run("backtest", "hot", "--hours", "2")
    assert (done.code, done.err.strip()) == (0, "It would have fired 1 time, for 1 of 1 program.")
    assert "web" in done.lines[1] and "recovered" in done.lines[1]
    assert json.loads(run("backtest", "hot", "--hours", "2", "--json").out)["total"] == 1
