"""Creating, changing and removing rules. The agents apply the change at their next evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from core.access import Principal, audit
from core.change_lock import lock_changes
from core.models import Sequence, number_on_commit
from programs.models import Program

from .models import AlertRule

Actor = str | Principal
FIELDS = (
    "name", "description", "enabled", "programs", "tags", "metric", "condition", "threshold", "clear_threshold",
    "window_seconds", "severity",
)  # fmt: skip


def save_rule(values: Mapping[str, Any], *, actor: Actor, rule: AlertRule | None = None) -> AlertRule:
    """Creates a rule, or changes the given FIELDS of `rule`. Raises ValidationError by field."""
    created = rule is None
    subject = rule or AlertRule()
    with transaction.atomic():
        lock_changes()
        subject.revision = Sequence.advance()
        stored = AlertRule.objects.filter(pk=subject.pk).values_list("programs", flat=True).first()
        _assign(subject, values, known_programs=stored or [])
        subject.save(force_insert=created)
        number_on_commit(subject)
        action = "alert_rule.created" if created else "alert_rule.changed"
        audit(actor, action, subject.name, data={"fields": sorted(values)})
    return subject


def draft(values: Mapping[str, Any], rule: AlertRule | None = None) -> AlertRule:
    """An unsaved rule for a backtest; its name may be taken. Raises ValidationError."""
    subject = AlertRule()
    _assign(subject, values, known_programs=rule.programs if rule else [], validate_unique=False)
    return subject


def _assign(
    rule: AlertRule, values: Mapping[str, Any], *, known_programs: list[int], validate_unique: bool = True
) -> None:
    # Programs that were removed after they were selected may stay in the rule.
    if unknown := values.keys() - set(FIELDS):
        raise ValidationError(dict.fromkeys(sorted(unknown), "Unknown field."))
    for name, value in values.items():
        setattr(rule, name, value)
    rule.full_clean(validate_unique=validate_unique)
    new = set(rule.programs) - set(known_programs)
    if gone := new - set(Program.objects.filter(pk__in=new).values_list("pk", flat=True)):
        raise ValidationError({"programs": f"There is no program {min(gone)}."})


def remove_rule(rule: AlertRule, *, actor: Actor) -> None:
    """Its alerts are kept; the agents resolve the open ones."""
    with transaction.atomic():
        lock_changes()
        name = rule.name
        rule.delete()
        audit(actor, "alert_rule.removed", name)
