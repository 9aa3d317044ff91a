"""A rule against the last seven days, be it saved or still being typed."""

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
from metrics.alerts.backtest import Episode, OfProgram, Outcome, Plan, backtest
from metrics.alerts.models import Alert, AlertRule
from programs.formatting import duration_text
from programs.forms.fields import seconds_text

from .alert_form import RuleForm
from .alert_text import amount, watched_text

# The first of these for which the work stays within its bounds.
HOURS: dict[int, Any] = {
    168: gettext_lazy("7 days"),
    72: gettext_lazy("3 days"),
    24: gettext_lazy("24 hours"),
    6: gettext_lazy("6 hours"),
    1: gettext_lazy("hour"),
}
MOST_ROWS = 50  # of one program
WATCHED = ("metric", "condition", "threshold", "clear_threshold", "window_seconds", "programs", "tags")
WIDTH = 1000  # of the strip of a program, in units of its drawing


@dataclass
class Trial:
    """What came of it. `hours` is 0 where even the shortest time would have been too much."""

    rule: AlertRule
    watched: str
    hours: int = 0
    outcome: Outcome | None = None
    programs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_shortened(self) -> bool:
        return self.hours != max(HOURS)

    @property
    def time(self) -> str:
        return str(HOURS[self.hours])

    @property
    def step(self) -> str:
        return seconds_text(self.outcome.plan.step) if self.outcome else ""


def trial(rule: AlertRule, now: int) -> Trial:
    made = Trial(rule, watched_text(rule))
    for hours in HOURS:
        try:
            made.outcome = backtest(rule, now - hours * 3600, now, now)
        except ValidationError:
            continue
        made.hours = hours
        made.programs = [_shown(one, made.outcome.plan, rule) for one in made.outcome.programs]
        break
    return made


def _shown(one: OfProgram, asked: Plan, rule: AlertRule) -> dict[str, Any]:
    rows = [_row(episode, asked, rule) for episode in one.episodes]
    strip = [_place(episode, asked) for episode in one.episodes]
    return {"program": one, "rows": rows[:MOST_ROWS], "hidden": len(rows) - MOST_ROWS, "strip": strip}


def _row(episode: Episode, asked: Plan, rule: AlertRule) -> dict[str, Any]:
    end = episode.resolved_at
    reason = Alert.Reason(episode.reason).label if episode.reason else _("still firing")
    return {
        "begun": _moment(episode.started_at),
        "over": _moment(end) if end else "—",
        "lasted": duration_text((end or asked.end) - episode.started_at),
        "reason": reason,
        "value": amount(episode.value, rule.metric),
        "extremes": f"{amount(episode.lowest, rule.metric)} … {amount(episode.highest, rule.metric)}",
    }


def _place(episode: Episode, asked: Plan) -> tuple[int, int]:
    """Where it lies on the strip: left edge and width."""
    length = max(1, asked.end - asked.start)
    left = WIDTH * (episode.started_at - asked.start) // length
    right = WIDTH * ((episode.resolved_at or asked.end) - asked.start) // length
    return left, max(2, right - left)


def _moment(seconds: int) -> SafeString:
    at: datetime = from_unix(seconds)
    return time_element(at)


class RuleTrials(RoleModelAdmin):
    """Answers a POST of the form with a page; our script asks for the middle of it alone."""

    def trial_urls(self) -> list[URLPattern]:
        new = self.admin_site.admin_view(role_required(Role.ADMIN)(self.trial_view))
        saved = self.admin_site.admin_view(role_required(Role.READ)(self.trial_view))
        return [
            path("add/try/", new, name="metrics_alertrule_try_new"),
            path("<int:object_id>/try/", saved, name="metrics_alertrule_try"),
        ]

    def trial_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        """Of the form as it was posted; of the saved rule for those who have no form."""
        rule = get_object_or_404(AlertRule, pk=object_id) if object_id else None
        if rule and not (request.method == "POST" and self.has_change_permission(request, rule)):
            return self.trial_page(request, [rule])
        form = RuleForm(request.POST or None, instance=rule)
        if mistakes := list(_mistakes(form)):
            return self.trial_page(request, [], mistakes=mistakes)
        return self.trial_page(request, [AlertRule(**form.values())])

    def trial_page(
        self, request: HttpRequest, rules: Iterable[AlertRule], mistakes: Iterable[str] = ()
    ) -> TemplateResponse:
        is_part = request.headers.get("X-Requested-With") == "fetch"
        context = {
            **self.admin_site.each_context(request),
            "title": _("Against the last 7 days"),
            "trials": [trial(rule, int(time.time())) for rule in rules],
            "mistakes": mistakes,
            "width": WIDTH,
        }
        return TemplateResponse(request, f"admin/metrics/rule/trial{'_part' if is_part else ''}.html", context)


def _mistakes(form: RuleForm) -> Iterable[str]:
    """Nothing else needs to be right than what is watched: the name may be missing or taken."""
    if not form.is_bound:
        yield _("Fill in the form first.")
    for name, texts in form.errors.items():
        if name in WATCHED:
            yield f"{form.fields[name].label}: {' '.join(map(str, texts))}"
