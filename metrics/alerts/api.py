"""`/metrics/alerts`: rules, alerts and backtests. docs/alerts.md is the guide."""

from __future__ import annotations

import time
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router, Status

from core.rest import auth
from core.rest.auth import AuthedRequest
from core.rest.lists import ListPage
from metrics.schemas import TimeRangeQuery
from programs.schemas import PageOut

from . import selectors, services
from .backtest import backtest
from .models import Alert, AlertRule
from .schemas import (
    AlertListing,
    AlertOut,
    BacktestIn,
    BacktestOut,
    RuleChangesIn,
    RuleIn,
    RuleListing,
    RuleOut,
)
from .serializers import alert_json, backtest_json, rule_json

router = Router(tags=["alerts"])
RULE_FIELDS = tuple(RuleOut.model_fields)
RULE_ORDER = ("id", "name", "enabled", "metric", "severity", "firing", "created_at")
ALERT_FIELDS = tuple(AlertOut.model_fields)
ALERT_ORDER = ("id", "started_at")
LARGEST_ID = 2**63 - 1


# --- Alerts ---------------------------------------------------------------------------------------------


@router.get("", auth=auth.READ, response=PageOut)
def list_alerts(request: HttpRequest, listing: Query[AlertListing]) -> ListPage:
    """Firing and resolved alerts, newest first."""
    columns = listing.order({name: name for name in ALERT_ORDER}, "-started_at")
    fields = listing.selected_fields(ALERT_FIELDS)
    rows, count = listing.rows(_filtered(listing).order_by(*columns, "-id"))
    now = timezone.now()
    return listing.page_response([alert_json(row, now) for row in rows], count, fields)


def _filtered(listing: AlertListing) -> QuerySet[Alert]:
    wanted = {
        "rule": listing.rule,
        "program": listing.program,
        "severity": listing.severity,
        "started_at__gte": listing.since,
        "started_at__lt": listing.until,
    }
    found = selectors.alerts(listing.state or "").filter(**{k: v for k, v in wanted.items() if v is not None})
    if listing.search:
        found = found.filter(Q(rule_name__icontains=listing.search) | Q(program_name__icontains=listing.search))
    return found


@router.get("/{int:alert_id}", auth=auth.READ, response=AlertOut)
def get_alert(request: HttpRequest, alert_id: int) -> dict[str, Any]:
    found = Alert.objects.filter(pk=alert_id).first() if 0 < alert_id <= LARGEST_ID else None
    if found is None:
        raise Http404(f"There is no alert {alert_id}.")
    return alert_json(found, timezone.now())


# --- Rules ----------------------------------------------------------------------------------------------


def rule_or_404(rule_id: int) -> AlertRule:
    found = selectors.rules().filter(pk=rule_id).first() if 0 < rule_id <= LARGEST_ID else None
    if found is None:
        raise Http404(f"There is no alert rule {rule_id}.")
    return found


@router.get("/rules", auth=auth.READ, response=PageOut)
def list_rules(request: HttpRequest, listing: Query[RuleListing]) -> ListPage:
    """All rules. `search` matches name and description."""
    columns = listing.order({name: name for name in RULE_ORDER}, "name")
    fields = listing.selected_fields(RULE_FIELDS)
    found = selectors.rules(search=listing.search, enabled=listing.enabled, metric=listing.metric or "")
    rows, count = listing.rows(found.order_by(*columns, "id"))
    return listing.page_response([rule_json(row) for row in rows], count, fields)


@router.post("/rules", auth=auth.ADMIN, response={201: RuleOut})
def create_rule(request: AuthedRequest, response: HttpResponse, body: RuleIn) -> Status[dict[str, Any]]:
    saved = services.save_rule(body.model_dump(exclude_unset=True), actor=request.auth)
    response["Location"] = f"{request.path}/{saved.pk}"
    return Status(201, rule_json(saved))


@router.get("/rules/{int:rule_id}", auth=auth.READ, response=RuleOut)
def get_rule(request: HttpRequest, rule_id: int) -> dict[str, Any]:
    return rule_json(rule_or_404(rule_id))


@router.patch("/rules/{int:rule_id}", auth=auth.ADMIN, response=RuleOut)
def change_rule(request: AuthedRequest, rule_id: int, body: RuleChangesIn) -> dict[str, Any]:
    """Changes the given fields. Alerts that no longer match the rule are resolved within RECORD_SECONDS."""
    values = body.model_dump(exclude_unset=True)
    return rule_json(services.save_rule(values, actor=request.auth, rule=rule_or_404(rule_id)))


@router.put("/rules/{int:rule_id}", auth=auth.ADMIN, response=RuleOut)
def replace_rule(request: AuthedRequest, rule_id: int, body: RuleIn) -> dict[str, Any]:
    """Replaces the whole rule. Omitted fields get their defaults."""
    return rule_json(services.save_rule(body.model_dump(), actor=request.auth, rule=rule_or_404(rule_id)))


@router.delete("/rules/{int:rule_id}", auth=auth.ADMIN, response={204: None})
def remove_rule(request: AuthedRequest, rule_id: int) -> Status[None]:
    """Removes the rule. Its alerts are kept; firing ones are resolved within RECORD_SECONDS."""
    services.remove_rule(rule_or_404(rule_id), actor=request.auth)
    return Status(204, None)


# --- Backtest -------------------------------------------------------------------------------------------


@router.post("/backtest", auth=auth.READ, response=BacktestOut)
def run_backtest(request: AuthedRequest, body: BacktestIn) -> dict[str, Any]:
    """When a rule would have fired and resolved. Nothing is saved and no event is sent."""
    now = int(time.time())
    start, end = TimeRangeQuery.model_construct(hours=body.hours, start=body.start, end=body.end).unix_range(now)
    rule = rule_or_404(body.rule) if isinstance(body.rule, int) else _draft_rule(body.rule.model_dump())
    return backtest_json(rule, backtest(rule, start, end, now))


def _draft_rule(values: dict[str, Any]) -> AlertRule:
    return services.draft({**values, "name": values["name"] or "draft"})
