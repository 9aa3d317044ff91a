"""Backtest pages: a saved or unsaved rule on the last 7 days."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.access import Role
from core.access.permissions import RoleModelAdmin, role_required
from core.timeformat import from_unix, time_element
from metrics.alerts.backtest import BacktestPlan, BacktestResult, Episode, ProgramBacktest, backtest
from metrics.alerts.models import Alert, AlertRule
from programs.formatting import duration_text
from programs.forms.fields import seconds_text

from .alert_form import RuleForm
from .alert_text import amount, watched_text

# The first of these that stays within the limits of a backtest is used.
PERIOD_LABELS: dict[int, Any] = {
    168: gettext_lazy("7 days"),
    72: gettext_lazy("3 days"),
    24: gettext_lazy("24 hours"),
    6: gettext_lazy("6 hours"),
    1: gettext_lazy("hour"),
}
MAX_ROWS = 50  # per program
CONDITION_FIELDS = ("metric", "condition", "threshold", "clear_threshold", "window_seconds", "programs", "tags")
TIMELINE_WIDTH = 1000  # of a program's timeline, in SVG units


@dataclass
class RuleBacktest:
    """The result for the template. `hours` is 0 if even the shortest time exceeds the limits."""

    rule: AlertRule
    watched: str
    hours: int = 0
    outcome: BacktestResult | None = None
    programs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_shortened(self) -> bool:
        return self.hours != max(PERIOD_LABELS)

    @property
    def time(self) -> str:
        return str(PERIOD_LABELS[self.hours])

    @property
    def step(self) -> str:
        return seconds_text(self.outcome.plan.step) if self.outcome else ""


def run_rule_backtest(rule: AlertRule, now: int) -> RuleBacktest:
    result = RuleBacktest(rule, watched_text(rule))
    for hours in PERIOD_LABELS:
        try:
            result.outcome = backtest(rule, now - hours * 3600, now, now)
        except ValidationError:
            continue
        result.hours = hours
        result.programs = [
            _program_context(program, result.outcome.plan, rule) for program in result.outcome.programs
        ]
        break
    return result


def _program_context(program: ProgramBacktest, plan: BacktestPlan, rule: AlertRule) -> dict[str, Any]:
    rows = [_row(episode, plan, rule) for episode in program.episodes]
    strip = [_timeline_segment(episode, plan) for episode in program.episodes]
    return {"program": program, "rows": rows[:MAX_ROWS], "hidden": len(rows) - MAX_ROWS, "strip": strip}


def _row(episode: Episode, plan: BacktestPlan, rule: AlertRule) -> dict[str, Any]:
    end = episode.resolved_at
    reason = Alert.Reason(episode.reason).label if episode.reason else _("still firing")
    return {
        "begun": _time_element(episode.started_at),
        "over": _time_element(end) if end else "—",
        "lasted": duration_text((end or plan.end) - episode.started_at),
        "reason": reason,
        "value": amount(episode.value, rule.metric),
        "extremes": f"{amount(episode.lowest, rule.metric)} … {amount(episode.highest, rule.metric)}",
    }


def _timeline_segment(episode: Episode, plan: BacktestPlan) -> tuple[int, int]:
    """Left edge and width of the alert on the timeline."""
    length = max(1, plan.end - plan.start)
    left = TIMELINE_WIDTH * (episode.started_at - plan.start) // length
    right = TIMELINE_WIDTH * ((episode.resolved_at or plan.end) - plan.start) // length
    return left, max(2, right - left)


def _time_element(seconds: int) -> SafeString:
    at: datetime = from_unix(seconds)
    return time_element(at)


class BacktestAdmin(RoleModelAdmin):
    """Shows the backtest of a posted form as a page, or as a fragment for static/monitor/alert_rule_form.js."""

    def backtest_urls(self) -> list[URLPattern]:
        new = self.admin_site.admin_view(role_required(Role.ADMIN)(self.backtest_view))
        saved = self.admin_site.admin_view(role_required(Role.READ)(self.backtest_view))
        return [
            path("add/try/", new, name="metrics_alertrule_try_new"),
            path("<int:object_id>/try/", saved, name="metrics_alertrule_try"),
        ]

    def backtest_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        # Readers have no form, so they get the saved rule.
        rule = get_object_or_404(AlertRule, pk=object_id) if object_id else None
        if rule and not (request.method == "POST" and self.has_change_permission(request, rule)):
            return self.backtest_page(request, [rule])
        form = RuleForm(request.POST or None, instance=rule)
        if errors := list(_condition_errors(form)):
            return self.backtest_page(request, [], errors=errors)
        return self.backtest_page(request, [AlertRule(**form.values())])

    def backtest_page(
        self, request: HttpRequest, rules: Iterable[AlertRule], errors: Iterable[str] = ()
    ) -> TemplateResponse:
        is_fragment = request.headers.get("X-Requested-With") == "fetch"
        context = {
            **self.admin_site.each_context(request),
            "title": _("Backtest: last 7 days"),
            "trials": [run_rule_backtest(rule, int(time.time())) for rule in rules],
            "mistakes": errors,
            "width": TIMELINE_WIDTH,
        }
        return TemplateResponse(request, f"admin/metrics/rule/trial{'_part' if is_fragment else ''}.html", context)


def _condition_errors(form: RuleForm) -> Iterable[str]:
    # Other errors do not matter to a backtest: the name may be missing or taken.
    if not form.is_bound:
        yield _("Fill in the form first.")
    for name, texts in form.errors.items():
        if name in CONDITION_FIELDS:
            yield f"{form.fields[name].label}: {' '.join(map(str, texts))}"
