from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.models import AuditEntry
from metrics.admin.alert_form import TYPED, RuleForm
from metrics.alerts.models import AlertRule, Metric
from metrics.alerts.tests.factories import alert, record_host, rule
from metrics.alerts.units import METRIC_SPECS
from metrics.storage.tiers import RAW
from metrics.tests.history import store_usage
from programs.models import Program
from programs.tests.admin.conftest import MakeProgram

LIST = "/admin/metrics/alertrule/"
ADD = f"{LIST}add/"


def page_of(made: AlertRule) -> str:
    return f"{LIST}{made.pk}/change/"


def filled(**changes: Any) -> dict[str, Any]:
    """Form data of a new rule; None omits a field."""
    given = {
        "name": "hot", "description": "", "enabled": "on", "severity": "warning", "metric": "cpu_percent",
        "condition": "above", "threshold": "90", "clear_threshold": "", "window_seconds": "5m", "tags": "",
        "seen": "0", **changes,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def text_of(response: Any) -> str:
    found: str = response.content.decode()
    return found


def written() -> Iterable[tuple[str, str]]:
    """Action and target of the audit entries about rules."""
    return AuditEntry.objects.filter(action__startswith="alert_rule.").values_list("action", "target")


def errors_of(response: Any) -> dict[str, str]:
    return {name: " ".join(texts) for name, texts in response.context["adminform"].form.errors.items()}


# --- The form ---------------------------------------------------------------------------------------------


def test_a_rule_is_created_and_audited_once(admin: Client, program: MakeProgram) -> None:
    web = program("web")
    posted = filled(programs=[web.pk], tags="front, back", window_seconds="90s", clear_threshold="70.5")
    assert admin.post(ADD, posted).status_code == 302
    made = AlertRule.objects.get()
    assert (made.threshold, made.clear_threshold, made.window_seconds) == (90, 70.5, 90)
    assert (made.programs, made.tags, made.severity) == ([web.pk], ["front", "back"], "warning")
    assert list(written()) == [("alert_rule.created", "hot")]


def test_show_all_is_offered_only_for_a_filtered_list(admin: Client) -> None:
    admin.post(ADD, filled())
    assert "Show all" not in admin.get(LIST).content.decode()
    assert "Show all" in admin.get(LIST, {"q": "no such rule"}).content.decode()


def test_the_form_starts_with_the_defaults(admin: Client) -> None:
    form = admin.get(ADD).context["adminform"].form
    values = [form[name].value() for name in ("window_seconds", "severity", "enabled", "condition", "threshold")]
    assert values == ["5m", "warning", True, "above", None]


@pytest.mark.parametrize(
    ("metric", "typed", "kept"),
    [
        ("cpu_percent", "87.5", 87.5),
        ("memory_bytes", "1.5", 1.5 * 1024**2),
        ("read_bytes_per_second", "10", 10 * 1024**2),
        ("threads", "12", 12),
    ],
)
def test_thresholds_are_entered_in_a_readable_unit(admin: Client, metric: str, typed: str, kept: float) -> None:
    admin.post(ADD, filled(metric=metric, threshold=typed))
    made = AlertRule.objects.get()
    assert made.threshold == kept
    page = text_of(admin.get(page_of(made)))
    shown = page.split('name="threshold"')[1].split("</div>")[0]
    assert f'value="{typed}"' in shown
    assert TYPED[METRIC_SPECS[metric].unit][0] in shown.split("<span")[1]
    admin.post(page_of(made), filled(metric=metric, threshold=typed, seen=made.revision))
    made.refresh_from_db()
    assert made.threshold == kept


def test_the_form_has_the_unit_of_every_metric() -> None:
    units = json.loads(RuleForm().fields["metric"].widget.attrs["data-units"])
    assert units.keys() == set(Metric.values)
    assert (units["cpu_percent"], units["memory_bytes"]) == ("%", "MB")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": ""}, "name", "required"),
        ({"name": "a/b"}, "name", "slash"),
        ({"threshold": ""}, "threshold", "required"),
        ({"threshold": "-1"}, "threshold", "between 0"),
        ({"threshold": "nan"}, "threshold", "number"),
        ({"condition": "below", "threshold": "0"}, "threshold", "below 0"),
        ({"clear_threshold": "95"}, "clear_threshold", "above the threshold (90 %)"),
        ({"metric": "memory_bytes", "clear_threshold": "95"}, "clear_threshold", "above the threshold (90.0 MB)"),
        ({"window_seconds": "soon"}, "window_seconds", "Use 30s, 5m, 2h or 1d"),
        ({"window_seconds": "5s"}, "window_seconds", "between 10"),
        ({"window_seconds": "2d"}, "window_seconds", "a day"),
        ({"metric": "warmth"}, "metric", "valid choice"),
        ({"programs": ["4711"]}, "programs", "valid choice"),
    ],
)
def test_an_error_is_shown_at_its_field(admin: Client, changes: dict[str, Any], field: str, words: str) -> None:
    answer = admin.post(ADD, filled(**changes))
    assert answer.status_code == 200
    found = errors_of(answer)
    assert list(found) == [field]
    assert words in found[field]
    assert not AlertRule.objects.exists()


def test_a_taken_name_is_an_error(admin: Client) -> None:
    rule("hot")
    assert list(errors_of(admin.post(ADD, filled()))) == ["name"]


def test_a_concurrent_change_is_not_overwritten(admin: Client) -> None:
    made = rule("hot", revision=5)
    answer = admin.post(page_of(made), filled(threshold="50", seen="4"))
    assert "This rule was changed meanwhile" in text_of(answer)
    assert AlertRule.objects.get().threshold == 90


def test_a_rule_whose_programs_were_removed_does_not_apply_to_all(admin: Client, program: MakeProgram) -> None:
    web = program("web")
    made = rule("hot", programs=[web.pk])
    Program.objects.all().delete()
    assert admin.post(page_of(made), filled(seen="1", threshold="80")).status_code == 302
    made.refresh_from_db()
    assert (made.programs, made.threshold) == ([web.pk], 80)
    assert "none (its programs were removed)" in text_of(admin.get(LIST))


def test_deleting_uses_the_service(admin: Client, program: MakeProgram) -> None:
    made = rule("hot")
    alert(made, program("web"))
    assert "its alerts are kept" in text_of(admin.get(f"{LIST}{made.pk}/delete/"))
    admin.post(f"{LIST}{made.pk}/delete/", {"post": "yes"})
    assert not AlertRule.objects.exists()
    assert list(written()) == [("alert_rule.removed", "hot")]


# --- The list ---------------------------------------------------------------------------------------------


def test_the_list_shows_condition_programs_and_state(viewer: Client, program: MakeProgram) -> None:
    some = [program(name) for name in ("a", "b", "c", "d", "e")]
    one = rule("leak", metric="memory_bytes", threshold=1.5 * 1024**3, programs=[p.pk for p in some], tags=["x"])
    rule("off", enabled=False)
    for each in some[:2]:
        alert(one, each)
    text = text_of(viewer.get(LIST))
    for wanted in (
        "Memory above 1.5 GB over 1m",
        "a, b, c, #x, 2 others",
        "2 firing",
        "all programs",
        ">disabled<",
    ):
        assert wanted in text


def test_more_rules_need_no_more_queries(viewer: Client, program: MakeProgram) -> None:
    rule("r0", programs=[program("web").pk])
    viewer.get(LIST)
    with CaptureQueriesContext(connection) as few:
        viewer.get(LIST)
    for number in range(1, 20):
        alert(rule(f"r{number}", programs=[program(f"p{number}").pk]), Program.objects.all()[0])
    with CaptureQueriesContext(connection) as many:
        viewer.get(LIST)
    assert len(few) == len(many) <= 12


def test_selected_rules_are_disabled_and_enabled(admin: Client) -> None:
    made = [rule("one"), rule("two")]
    chosen = {"_selected_action": [each.pk for each in made]}
    answer = admin.post(LIST, {"action": "switch_off_selected", **chosen}, follow=True)
    assert "2 rules disabled." in text_of(answer)
    assert not AlertRule.objects.filter(enabled=True).exists()
    admin.post(LIST, {"action": "switch_on_selected", **chosen})
    assert AlertRule.objects.filter(enabled=True, revision__gt=1).count() == 2


@pytest.mark.parametrize("path", [ADD, f"{LIST}add/try/"])
def test_readers_cannot_change_rules(viewer: Client, path: str) -> None:
    made = rule("hot", description="Why it matters")
    assert viewer.post(path, filled()).status_code == 403
    assert viewer.post(page_of(made), filled(threshold="1")).status_code == 403
    text = text_of(viewer.get(page_of(made)))
    assert "CPU above 90 % over 1m" in text and "Why it matters" in text
    assert 'name="threshold"' not in text


def test_the_page_of_a_rule_lists_its_latest_alerts(viewer: Client, program: MakeProgram) -> None:
    made = rule("hot")
    for number in range(12):
        alert(made, program(f"p{number}"), age=1000 * number + 500, lasted=75)
    page = viewer.get(page_of(made))
    assert len(page.context["rows"]) == 10
    assert "1m 15s" in text_of(page) and f"?rule={made.pk}" in text_of(page)


# --- Backtest ---------------------------------------------------------------------------------------------


@pytest.fixture
def hot(program: MakeProgram) -> Program:
    """A program that used much CPU for five minutes, ten minutes ago."""
    web = program("web")
    start = int(time.time()) // 60 * 60 - 900
    record_host(start, start + 600)
    for number in range(60):
        store_usage(RAW, web, start + 10 * number, cpu=95 if number < 30 else 5)
    return web


@pytest.fixture
def kept_points(settings: Any) -> None:
    settings.RAW_HOURS = 24 * 8


def test_an_unsaved_rule_is_backtested(admin: Client, hot: Program, kept_points: None) -> None:
    for name in ("", "any"):
        page = admin.post(f"{LIST}add/try/", filled(name=name, window_seconds="1m"))
        text = text_of(page)
        for wanted in ("It would have fired", "<b>once</b>", "1 of 1 programs", "web", "95 %", "recovered"):
            assert wanted in text
    assert not AlertRule.objects.exists()


def test_a_saved_rule_is_backtested_with_the_form_values(admin: Client, hot: Program, kept_points: None) -> None:
    made = rule("hot")
    posted = filled(threshold="99", window_seconds="1m", seen="1")
    assert "It would not have fired" in text_of(admin.post(f"{LIST}{made.pk}/try/", posted))
    assert "<b>once</b>" in text_of(admin.get(f"{LIST}{made.pk}/try/"))


def test_the_script_gets_only_a_fragment(admin: Client, hot: Program) -> None:
    text = text_of(admin.post(f"{LIST}add/try/", filled(), headers={"X-Requested-With": "fetch"}))
    assert text.strip().startswith("<section") and "<html" not in text


def test_readers_backtest_the_saved_rule(viewer: Client, hot: Program, kept_points: None) -> None:
    made = rule("hot")
    answer = viewer.post(f"{LIST}{made.pk}/try/", filled(threshold="99"))
    assert "<b>once</b>" in text_of(answer)


def test_selected_rules_are_backtested_from_the_list(viewer: Client, hot: Program, kept_points: None) -> None:
    made = [rule("one"), rule("two", threshold=99)]
    chosen = {"action": "try_selected", "_selected_action": [each.pk for each in made]}
    text = text_of(viewer.post(LIST, chosen))
    assert "one: CPU above 90 % over 1m" in text and "two: CPU above 99 % over 1m" in text


def test_a_backtest_beyond_the_limit_uses_a_shorter_time(
    admin: Client, hot: Program, kept_points: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.alerts.backtest.MAX_POINTS_READ", 6 * 60)
    text = text_of(admin.post(f"{LIST}add/try/", filled(window_seconds="1m")))
    assert "in the last 6 hours" in text and "7 days are too much data" in text
    monkeypatch.setattr("metrics.alerts.backtest.MAX_POINTS_READ", 1)
    assert "even for one hour" in text_of(admin.post(f"{LIST}add/try/", filled(window_seconds="1m")))


def test_a_rule_with_errors_is_not_backtested(admin: Client) -> None:
    text = text_of(admin.post(f"{LIST}add/try/", filled(threshold="", clear_threshold="x")))
    assert "Threshold: This field is required." in text
    assert "Fill in the form first." in text_of(admin.get(f"{LIST}add/try/"))
