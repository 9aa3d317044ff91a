from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from programs.models import ProgramEvent
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.tests import rig

from .conftest import HOOK, LOG, MakeDelivery, State, text_of


def found(client: Client, query: str) -> set[str]:
    return {row.pk for row in client.get(LOG + query).context["cl"].result_list}


def page_of(row: WebhookDelivery) -> str:
    return f"{LOG}{row.pk}/change/"


def test_the_log_takes_constant_queries_and_no_count(viewer: Client, delivery: MakeDelivery) -> None:
    delivery()
    viewer.get(LOG)
    with CaptureQueriesContext(connection) as few:
        viewer.get(LOG)
    for _ in range(60):
        delivery(State.EXHAUSTED, status=500, error="answered 500")
    with CaptureQueriesContext(connection) as many:
        assert len(found(viewer, "")) == 50
    assert len(few) == len(many) <= 12
    asked = [query["sql"] for query in many]
    assert not [sql for sql in asked if "COUNT(" in sql and "webhookdelivery" in sql]
    assert len(found(viewer, "?p=2")) == 11


def test_the_log_is_filtered_by_endpoint_state_event_program_and_time(
    viewer: Client, delivery: MakeDelivery
) -> None:
    failed = delivery(State.EXHAUSTED, status=500)
    old = delivery(at=timezone.now() - timedelta(days=3))
    web = rig.program("web")
    about = rig.record_event("program.fatal", web).deliveries.get()
    other = rig.endpoint(HOOK, "other")
    elsewhere = rig.record_event("program.started").deliveries.get(endpoint=other)
    assert found(viewer, f"?endpoint={other.pk}") == {elsewhere.pk}
    assert found(viewer, "?state__exact=exhausted") == {failed.pk}
    assert found(viewer, "?type=program.fatal") == {about.pk}
    assert found(viewer, f"?program={web.pk}&type=program.fatal") == {about.pk}
    assert old.pk not in found(viewer, "?since=day") and old.pk in found(viewer, "?since=week")
    assert about.pk in found(viewer, "?q=web")
    assert found(viewer, f"?q={old.pk}") == {old.pk}


@pytest.mark.parametrize(
    "query", ["?endpoint=x", "?endpoint=" + "9" * 5000, "?state__exact=%27", "?since=%00", "?p=99"]
)
def test_invalid_filters_cause_no_server_error(viewer: Client, delivery: MakeDelivery, query: str) -> None:
    delivery()
    assert viewer.get(LOG + query).status_code in (200, 302, 400)


def test_the_page_shows_every_attempt(viewer: Client, delivery: MakeDelivery) -> None:
    row = delivery(
        State.PENDING,
        status=500,
        error_class="status",
        error="answered <500>",
        response="<script>alert(1)</script>",
    )
    later = timezone.now() + timedelta(minutes=5)
    WebhookDelivery.objects.update(next_attempt_at=later)
    WebhookAttempt.objects.create(
        delivery=row,
        number=2,
        trigger="retry",
        started_at=timezone.now(),
        error_class="timeout",
        error="No complete response within 15 s.",
    )
    page = text_of(viewer.get(page_of(row)))
    for wanted in (
        *("Attempt 1", "Attempt 2", "Retry", "35 ms", "127.0.0.1", "Next attempt:", later.isoformat()[:19]),
        "answered &lt;500&gt;",
        "timeout: No complete response within 15 s.",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ):
        assert wanted in page
    assert "alert(1)</script>" not in page


def test_the_page_links_to_program_and_event_even_if_the_program_was_removed(
    viewer: Client, ops: WebhookEndpoint
) -> None:
    web = rig.program("web")
    row = rig.record_event("program.crashed", web).deliveries.get()
    page = text_of(viewer.get(page_of(row)))
    assert f"/admin/programs/program/{web.pk}/change/" in page
    assert f"/admin/programs/programevent/{row.event_id}/change/" in page
    ProgramEvent.objects.update(program=None)
    assert "web" in text_of(viewer.get(page_of(row)))


def test_an_unsent_delivery_shows_the_reason(viewer: Client, delivery: MakeDelivery) -> None:
    row = delivery(State.PENDING, at=timezone.now() - timedelta(minutes=2))
    WebhookDelivery.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
    assert "Are the agent and the jobs running?" in text_of(viewer.get(page_of(row)))
    WebhookEndpoint.objects.update(enabled=False)
    assert "The endpoint is disabled." in text_of(viewer.get(page_of(row)))


def test_operators_can_redeliver_and_viewers_cannot(
    operator: Client, viewer: Client, delivery: MakeDelivery
) -> None:
    row = delivery(State.EXHAUSTED, status=500)
    again = f"{LOG}{row.pk}/redeliver/"
    assert viewer.post(again).status_code == 403
    assert "Send again" not in text_of(viewer.get(page_of(row)))
    operator.get(again)
    assert WebhookDelivery.objects.get().state == State.EXHAUSTED
    operator.post(again)
    after = WebhookDelivery.objects.get()
    assert (after.pk, after.state, after.next_trigger) == (row.pk, State.PENDING, "manual")


def test_the_log_cannot_be_edited(admin: Client, delivery: MakeDelivery) -> None:
    row = delivery()
    assert admin.get(LOG + "add/").status_code == 403
    assert admin.post(f"{LOG}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.post(page_of(row), {"state": "failed"}).status_code == 403
    assert 'name="action"' not in text_of(admin.get(LOG))


@pytest.mark.parametrize("address", ["nothing/change/", "nothing/progress/", "nothing/redeliver/"])
def test_unknown_deliveries_are_not_found(operator: Client, address: str) -> None:
    answer: Any = operator.post(LOG + address) if "redeliver" in address else operator.get(LOG + address)
    assert answer.status_code in (302, 404)
