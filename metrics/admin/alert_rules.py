"""Alert rules in the admin: the list, the form, and each rule's latest alerts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter
from unfold.views import ChangeList

from core.access.permissions import principal_of
from metrics.alerts import selectors, services
from metrics.alerts.models import Alert, AlertRule
from programs.admin.events import badge
from programs.models import Program

from . import alert_text
from .alert_backtest import BacktestAdmin
from .alert_form import RuleForm
from .alert_text import amount, lasted_text, program_link, severity_badge, state_badge, watched_text

MAX_NAMES_SHOWN = 3
MAX_ALERTS_SHOWN = 10
MAX_BACKTESTS = 5


class RuleChangeList(ChangeList):
    """Adds program names to the rules, with one query for all."""

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        add_program_names(self.result_list)


def add_program_names(rules: Iterable[Any]) -> None:
    rules = list(rules)
    ids = {program for rule in rules for program in rule.programs}
    names = dict(Program.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}
    for rule in rules:
        rule.program_names = sorted(names[program] for program in rule.programs if program in names)


def programs_text(rule: Any) -> str:
    # The programs of a rule prepared by `add_program_names`.
    if not rule.programs and not rule.tags:
        return _("all programs")
    named = [*rule.program_names[:MAX_NAMES_SHOWN], *(f"#{tag}" for tag in rule.tags)]
    if (others := len(rule.program_names) - MAX_NAMES_SHOWN) > 0:
        named.append(ngettext("%(n)d other", "%(n)d others", others) % {"n": others})
    return ", ".join(named) or _("none (its programs were removed)")


@admin.register(AlertRule)
class AlertRuleAdmin(BacktestAdmin):
    form = RuleForm
    change_form_template = "admin/metrics/rule/change_form.html"
    list_display = ("title", "watched", "about", "severity_label", "status")
    list_display_links = ("title",)
    list_filter = (("enabled", BooleanRadioFilter), ("metric", ChoicesDropdownFilter))
    show_facets = admin.ShowFacets.NEVER
    list_fullwidth = True
    list_per_page = 100
    search_fields = ("name", "description")
    search_help_text = gettext_lazy("Name or description")
    actions = ("try_selected", "switch_on_selected", "switch_off_selected")
    ordering = ("name",)
    sortable_by = ("title",)
    warn_unsaved_form = True
    compressed_fields = True
    fieldsets = tuple((name, {"fields": fields}) for name, fields in alert_text.FIELDSETS)

    class Media:
        css = {"all": ["monitor/css/alert_rules.css"]}
        js = (
            Script("monitor/local_times.js", type="module"),
            Script("monitor/alert_rule_form.js", type="module"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        return selectors.rules()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RuleChangeList]:
        return RuleChangeList

    def get_urls(self) -> list[URLPattern]:
        return [*self.backtest_urls(), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        rule = self.get_object(request, object_id)
        extra: dict[str, Any] = {"rule": rule, "rows": alert_rows(rule)} if rule else {}
        if rule and not self.has_change_permission(request, rule):
            extra["settings_shown"] = readonly_settings(rule)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    # --- Writing: all through the services ------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: AlertRule, form: RuleForm, change: bool) -> None:
        saved = services.save_rule(form.values(), actor=principal_of(request), rule=form.stored())
        obj.pk = saved.pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Does nothing: the form has no related rows."""

    def _audit(self, request: HttpRequest, verb: str, obj: Any, message: Any) -> None:
        """Does nothing: the services write the audit entry."""

    def get_deleted_objects(
        self, objs: Sequence[AlertRule] | QuerySet[AlertRule], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        deleted = [
            _("%(name)s: its alerts are kept, firing ones are resolved") % {"name": rule.name} for rule in objs
        ]
        return deleted, {_("rules"): len(deleted)}, set(), []

    def delete_model(self, request: HttpRequest, obj: AlertRule) -> None:
        services.remove_rule(obj, actor=principal_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> None:
        for rule in queryset:
            services.remove_rule(rule, actor=principal_of(request))

    # --- Actions --------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Test on the last 7 days"), permissions=["view"])
    def try_selected(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> HttpResponse:
        rules = list(queryset[: MAX_BACKTESTS + 1])
        if len(rules) > MAX_BACKTESTS:
            messages.warning(request, _("Only the first %(n)d rules are shown.") % {"n": MAX_BACKTESTS})
        return self.backtest_page(request, rules[:MAX_BACKTESTS])

    @admin.action(description=gettext_lazy("Enable"), permissions=["administer"])
    def switch_on_selected(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> None:
        self._set_enabled(request, queryset, enabled=True)

    @admin.action(description=gettext_lazy("Disable"), permissions=["administer"])
    def switch_off_selected(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> None:
        self._set_enabled(request, queryset, enabled=False)

    def _set_enabled(self, request: HttpRequest, rules: QuerySet[AlertRule], *, enabled: bool) -> None:
        for rule in rules:
            services.save_rule({"enabled": enabled}, actor=principal_of(request), rule=rule)
        on = ngettext("%(n)d rule enabled.", "%(n)d rules enabled.", len(rules))
        off = ngettext("%(n)d rule disabled.", "%(n)d rules disabled.", len(rules))
        messages.success(request, (on if enabled else off) % {"n": len(rules)})

    # --- Columns --------------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("Name"), ordering="name")
    def title(self, row: AlertRule) -> SafeString:
        return format_html('<span class="program-name">{}</span>', row.name)

    @admin.display(description=gettext_lazy("Fires when"))
    def watched(self, row: AlertRule) -> str:
        return watched_text(row)

    @admin.display(description=gettext_lazy("Programs"))
    def about(self, row: AlertRule) -> str:
        return programs_text(row)

    @admin.display(description=gettext_lazy("Severity"))
    def severity_label(self, row: AlertRule) -> SafeString:
        return severity_badge(row)

    @admin.display(description=gettext_lazy("State"))
    def status(self, row: Any) -> SafeString:
        if row.firing:
            tone = "error" if row.severity == "error" else "warning"
            return badge(tone, _("%(n)d firing") % {"n": row.firing})
        return badge("good", _("enabled")) if row.enabled else badge("", _("disabled"))


def alert_rows(rule: AlertRule) -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        _row(alert, now) for alert in Alert.objects.filter(rule=rule).order_by("-started_at")[:MAX_ALERTS_SHOWN]
    ]


def _row(alert: Alert, now: Any) -> dict[str, Any]:
    return {
        "alert": alert,
        "badge": state_badge(alert),
        "program": program_link(alert),
        "value": amount(alert.value, alert.metric),
        "lasted": lasted_text(alert, now),
        "reason": alert.get_reason_display(),
    }


def readonly_settings(rule: AlertRule) -> list[tuple[Any, str]]:
    add_program_names([rule])
    clear = rule.threshold if rule.clear_threshold is None else rule.clear_threshold
    return [
        (_("Fires when"), watched_text(rule)),
        (alert_text.LABELS["clear_threshold"], amount(clear, rule.metric)),
        (alert_text.LABELS["programs"], programs_text(rule)),
        (alert_text.LABELS["severity"], rule.get_severity_display()),
        (alert_text.LABELS["description"], rule.description or "—"),
        (alert_text.LABELS["enabled"], _("yes") if rule.enabled else _("no")),
    ]
