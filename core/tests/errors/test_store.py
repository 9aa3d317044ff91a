"""Grouped errors in the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User

from core.access import Principal, Role
from core.errors import store
from core.models import AuditEntry, ErrorGroup
from core.tests.errors.factories import NOON, catch, fail, occurrence_of


@pytest.mark.django_db
def test_a_resolved_group_opens_again_only_with_a_later_error(person: Callable[[], User]) -> None:
    store.add(occurrence_of(catch(fail), NOON))
    group = ErrorGroup.objects.get()
    alice = Principal(person(), Role.ADMIN, "alice")
    assert store.resolve([group], alice) == 1
    assert store.resolve([group], alice) == 0
    store.add(occurrence_of(catch(fail), NOON + timedelta(seconds=1)))  # occurred before, written later
    group.refresh_from_db()
    assert (group.resolved_by, group.resolved_at is not None) == ("alice", True)
    store.add(occurrence_of(catch(fail), datetime.now(UTC) + timedelta(seconds=1)))
    group.refresh_from_db()
    assert (group.count, group.resolved_at, group.first_seen_at) == (3, None, NOON)
    assert AuditEntry.objects.filter(action="error.resolve", actor="alice").count() == 1


@pytest.mark.django_db
def test_old_groups_are_deleted_in_slices() -> None:
    for number in range(5):
        store.add(occurrence_of(type(f"Made{number}Error", (Exception,), {})(), NOON - timedelta(days=number)))
    assert store.expire(NOON - timedelta(days=1), 2) == 2
    assert store.expire(NOON - timedelta(days=1), 2) == 1
    assert sorted(row.kind[-10:] for row in ErrorGroup.objects.all()) == ["Made0Error", "Made1Error"]
