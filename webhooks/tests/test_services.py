"""Services: endpoints, redelivery and recovery, mutes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone
from standardwebhooks import Webhook

from core.access import Principal, Role
from core.exceptions import ConflictError
from core.models import AuditEntry
from core.secrets import encrypt
from programs.models import Program, ProgramEvent
from programs.tests.api_rig import person
from webhooks import services
from webhooks.delivery import retention, send_slots, signing
from webhooks.delivery.claims import Destination, due_deliveries
from webhooks.delivery.send_slots import SendQueue
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.serializers import display_url

from .rig import endpoint, finished, program, record_event

pytestmark = pytest.mark.django_db
URL = "http://127.0.0.1:9/hook"
DISCORD = "https://discord.com/api/webhooks/1/abcdefgh"


def save(row: WebhookEndpoint | None = None, **values: Any) -> services.SavedEndpoint:
    if row is None:
        values = {"name": "ops", "url": URL, **values}
    return services.save_endpoint(values, actor="tester", endpoint=row)


def test_a_signing_endpoint_gets_a_secret_that_is_returned_once() -> None:
    saved = save()
    signing.check_secret(saved.secret)
    assert save(saved.endpoint, name="other").secret == ""
    stored = WebhookEndpoint.objects.get()
    assert stored.secret == saved.secret
    assert saved.secret not in stored.encrypted_secret and URL not in stored.encrypted_url


def test_the_audit_trail_names_the_fields_and_no_values() -> None:
    saved = save(url="http://127.0.0.1:9/T0P-SECRET-PATH")
    entry = AuditEntry.objects.get(action="webhook.created")
    assert entry.target == "ops"
    assert "T0P-SECRET-PATH" not in str(entry.data) and saved.secret not in str(entry.data)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": 5}, "url"),
        ({"format": "pigeon"}, "format"),
        ({"format": "../standard"}, "format"),
        ({"settings": {"no": "such"}}, "settings"),
        ({"settings": []}, "settings"),
        ({"events": []}, "events"),
        ({"conditions": {"attr": 1}}, "conditions"),
        ({"timeout_seconds": 300}, "timeout_seconds"),
        ({"retry_schedule": "often"}, "retry_schedule"),
        ({"min_severity": "panic"}, "min_severity"),
        ({"name": ""}, "name"),
        ({"encrypted_url": "x"}, "encrypted_url"),
        ({"connect_failures": 1}, "connect_failures"),
    ],
)
def test_invalid_values_are_refused_with_their_field(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        save(**values)
    assert field in refused.value.message_dict
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("text", ["no PEM", "-----BEGIN PRIVATE KEY-----\nx", "é", "x" * 100_001])
def test_invalid_certificates_are_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        save(ca_certificates=text)
    assert set(refused.value.message_dict) == {"ca_certificates"}


def principal(*, is_superuser: bool) -> Principal:
    user = person(Role.ADMIN)
    user.is_superuser = is_superuser
    return Principal(user=user, role=Role.ADMIN, actor="alice")


def test_only_a_superuser_may_disable_certificate_verification() -> None:
    row = save().endpoint
    with pytest.raises(PermissionDenied):
        services.save_endpoint({"verify_tls": False}, actor=principal(is_superuser=False), endpoint=row)
    assert WebhookEndpoint.objects.get().verify_tls
    row.refresh_from_db()
    services.save_endpoint({"verify_tls": False}, actor=principal(is_superuser=True), endpoint=row)
    services.save_endpoint({"rate_per_second": 3}, actor=principal(is_superuser=False), endpoint=row)
    assert not Destination.from_endpoint(WebhookEndpoint.objects.get()).tls.verify


@pytest.mark.parametrize("values", [{"verify_tls": False}, {"ca_certificates": "x"}])
def test_a_format_with_its_own_client_has_no_tls_settings(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        save(format="apprise", url="json://127.0.0.1:9/", **values)
    assert refused.value.message_dict.keys() == values.keys()


@pytest.mark.parametrize("kind", ["standard", "template"])
def test_a_format_that_cannot_bundle_is_refused_with_bundling(kind: str) -> None:
    with pytest.raises(ValidationError) as refused:
        save(format=kind, bundle_seconds=5)
    assert "bundle_seconds" in refused.value.message_dict
    chat = save(format="slack", bundle_seconds=5).endpoint
    with pytest.raises(ValidationError, match="cannot be bundled"):
        save(chat, format=kind)
    stored = WebhookEndpoint.objects.get()
    WebhookEndpoint.objects.update(format=kind)
    stored.refresh_from_db()
    assert save(stored, enabled=False).endpoint.bundle_seconds == 5, "other fields can still be changed"


def test_the_masked_url_keeps_the_stored_one() -> None:
    row = save(url=DISCORD, format="discord").endpoint
    save(row, url=display_url(row), name="renamed")
    assert WebhookEndpoint.objects.get().url == DISCORD


@pytest.mark.parametrize("url", ["https://elsewhere.example/••••••", "••••••"])
def test_another_masked_url_is_refused(url: str) -> None:
    row = save(url=DISCORD, format="discord").endpoint
    with pytest.raises(ValidationError) as refused:
        save(row, url=url)
    assert "url" in refused.value.message_dict


def test_programs_must_exist_when_they_are_added() -> None:
    web = program()
    with pytest.raises(ValidationError) as refused:
        save(programs=[web.pk, 4711])
    assert refused.value.message_dict == {"programs": ["There is no program 4711."]}
    row = save(programs=[web.pk]).endpoint
    Program.everything.filter(pk=web.pk).delete()
    assert save(row, programs=[web.pk]).endpoint.programs == [web.pk]


def test_patterns_without_matching_types_may_stay_but_not_be_added() -> None:
    row = save().endpoint
    WebhookEndpoint.objects.update(events=["program.*", "old.type"])
    row = WebhookEndpoint.objects.get()
    save(row, tags=["a"])
    save(row, events=["old.type", "agent.*"])
    assert WebhookEndpoint.objects.get().events == ["old.type", "agent.*"]
    with pytest.raises(ValidationError, match=r"other\.type does not match any event type"):
        save(row, events=["old.type", "other.type"])


def test_enabling_can_require_a_decision_about_pending_deliveries() -> None:
    row = endpoint()
    record_event("agent.started")
    services.disable_endpoint(row, reason="enough", cancel_pending=False)
    with pytest.raises(ValidationError) as asked:
        services.save_endpoint({"enabled": True}, actor="tester", endpoint=row, resume=None)
    assert "resume" in asked.value.message_dict
    assert not WebhookEndpoint.objects.get().enabled
    WebhookDelivery.objects.update(state="delivered")
    services.save_endpoint({"enabled": True}, actor="tester", endpoint=row, resume=None)
    assert WebhookEndpoint.objects.get().enabled


def test_a_url_that_cannot_be_decrypted_can_be_replaced() -> None:
    row = save().endpoint
    WebhookEndpoint.objects.update(encrypted_url="gone")
    row.refresh_from_db()
    with pytest.raises(ValidationError) as refused:
        save(row, name="renamed")
    assert "url" in refused.value.message_dict
    row.refresh_from_db()
    save(row, url=DISCORD)
    assert WebhookEndpoint.objects.get().url == DISCORD


def test_set_true_keeps_the_stored_url_and_changes_the_rest() -> None:
    row = save().endpoint
    save(row, url={"set": True}, settings={"set": True}, rate_per_second=2)
    stored = WebhookEndpoint.objects.get()
    assert (stored.url, stored.rate_per_second) == (URL, 2)


def test_changing_an_endpoint_keeps_health_columns_written_meanwhile() -> None:
    row = save().endpoint
    WebhookEndpoint.objects.update(connect_failures=4, last_error="refused")
    save(row, name="renamed")
    stored = WebhookEndpoint.objects.get()
    assert (stored.name, stored.connect_failures, stored.last_error) == ("renamed", 4, "refused")


def test_enabling_cancels_pending_deliveries_unless_they_are_resumed() -> None:
    row = endpoint(retry_schedule=[5])
    for resume, state in ((False, "cancelled"), (True, "pending")):
        record_event("agent.started")
        services.disable_endpoint(row, reason="enough", cancel_pending=False)
        assert WebhookEndpoint.objects.get().disabled_reason == "enough"
        services.save_endpoint({"enabled": True}, actor="tester", endpoint=row, resume=resume)
        assert WebhookDelivery.objects.latest("event__seq").state == state
    assert WebhookEndpoint.objects.get().disabled_reason == ""


def test_disabling_twice_records_one_event() -> None:
    row = endpoint()
    for _ in range(2):
        services.disable_endpoint(row, reason="gone", cancel_pending=True)
    event = ProgramEvent.objects.get(type="webhook.disabled")
    assert (event.severity, event.data) == ("error", {"webhook": "ops", "reason": "gone"})
    assert AuditEntry.objects.filter(action="webhook.disabled").count() == 1


def test_after_a_rotation_both_secrets_sign_for_a_day() -> None:
    saved = save()
    new = services.rotate_secret(saved.endpoint, actor="tester")
    destination = Destination.from_endpoint(WebhookEndpoint.objects.get())
    now = timezone.now()
    headers = signing.signature_headers("msg_1", int(now.timestamp()), b"{}", destination.signing_secrets(now))
    for secret in (saved.secret, new):
        Webhook(secret).verify(b"{}", headers)
    assert destination.signing_secrets(now + timedelta(hours=25)) == [new]


def test_two_concurrent_rotations_leave_both_new_secrets_valid() -> None:
    # Each of two people was shown a secret, and configures it at the receiver.
    save()
    one, two = WebhookEndpoint.objects.get(), WebhookEndpoint.objects.get()
    given = [services.rotate_secret(endpoint, actor="tester") for endpoint in (one, two)]
    now = timezone.now()
    first = one.old_secrets[0].secret
    signing_now = Destination.from_endpoint(WebhookEndpoint.objects.get()).signing_secrets(now)
    assert sorted(signing_now) == sorted([*given, first])


def test_every_secret_signs_for_a_day_after_it_was_rotated_however_often(monkeypatch: pytest.MonkeyPatch) -> None:
    saved, start = save(), timezone.now()
    given = [saved.secret]
    for hours in (0, 1, 20):
        monkeypatch.setattr(timezone, "now", lambda hours=hours: start + timedelta(hours=hours))
        given.append(services.rotate_secret(saved.endpoint, actor="tester"))
    destination = Destination.from_endpoint(WebhookEndpoint.objects.get())
    for minutes, count in ((21 * 60, 4), (24 * 60 + 30, 3), (26 * 60, 2), (45 * 60, 1)):
        assert destination.signing_secrets(start + timedelta(minutes=minutes)) == given[::-1][:count]
    assert saved.endpoint.old_secret_until == start + timedelta(hours=44)
    monkeypatch.setattr(timezone, "now", lambda: start + timedelta(hours=30))
    services.rotate_secret(saved.endpoint, actor="tester")
    assert [old.secret for old in saved.endpoint.old_secrets] == [given[3], given[2]], "expired ones are dropped"


def test_a_single_old_secret_of_an_earlier_version_still_signs() -> None:
    row, until = save().endpoint, timezone.now() + timedelta(hours=1)
    WebhookEndpoint.objects.update(encrypted_old_secret=encrypt("whsec_b2xk"), old_secret_until=until)
    destination = Destination.from_endpoint(WebhookEndpoint.objects.get())
    assert destination.signing_secrets(timezone.now()) == [row.secret, "whsec_b2xk"]
    assert destination.signing_secrets(until) == [row.secret]
    services.rotate_secret(row, actor="tester")
    assert [old.secret for old in row.old_secrets][1:] == ["whsec_b2xk"]


def test_more_rotations_within_a_day_than_a_header_can_hold_are_refused() -> None:
    row = save().endpoint
    for _ in range(10):
        services.rotate_secret(row, actor="tester")
    with pytest.raises(ConflictError, match="still sign"):
        services.rotate_secret(row, actor="tester")


def test_a_secret_that_cannot_be_decrypted_can_be_rotated_away() -> None:
    row = save().endpoint
    WebhookEndpoint.objects.update(encrypted_secret="gone", encrypted_old_secret="gone")
    new = services.rotate_secret(row, actor="tester")
    assert Destination.from_endpoint(WebhookEndpoint.objects.get()).signing_secrets(timezone.now()) == [new]


def test_kept_secrets_are_those_stored_now() -> None:
    late = save(format="template", settings={"secret_headers": "Authorization: Bearer old-key"}).endpoint
    new = {"secret_headers": "Authorization: Bearer new-key"}
    services.save_endpoint({"settings": new}, endpoint=WebhookEndpoint.objects.get(), actor="one")
    kept = {"secret_headers": services.SET, "method": "PUT"}
    services.save_endpoint({"settings": kept}, endpoint=late, actor="two")
    assert WebhookEndpoint.objects.get().settings["secret_headers"] == new["secret_headers"]


def test_a_removed_endpoint_cannot_be_changed() -> None:
    late = save().endpoint
    services.remove_endpoint(WebhookEndpoint.objects.get(), actor="one")
    for ask in (
        lambda: services.save_endpoint({"tags": ["x"]}, endpoint=late, actor="two"),
        lambda: services.rotate_secret(late, actor="two"),
    ):
        with pytest.raises(ConflictError, match="was removed"):
            ask()


def test_unsigned_formats_have_no_secret_to_rotate() -> None:
    row = save(url=DISCORD, format="discord").endpoint
    with pytest.raises(ConflictError):
        services.rotate_secret(row, actor="tester")
    assert not WebhookEndpoint.objects.get().encrypted_secret


def test_recover_sends_only_failed_deliveries_again() -> None:
    row = endpoint()
    since = timezone.now() - timedelta(hours=1)
    bad = {finished(state).pk for state in ("failed", "exhausted", "blocked", "expired", "dead")}
    for state in ("delivered", "cancelled"):
        finished(state)
    finished("failed", created_at=since - timedelta(seconds=1))
    finished("failed", next_trigger="test")
    assert services.failed_since(row, since).count() == 5
    assert services.recover(row, since=since, actor="tester") == 5
    pending = WebhookDelivery.objects.filter(state="pending", next_trigger="manual", round_count=0, crash_count=0)
    assert set(pending.values_list("pk", flat=True)) == bad


def test_replay_sends_events_without_delivery_and_muted_ones() -> None:
    web = program()
    record_event("program.crashed", web)
    row = endpoint(events=["program.crashed", "agent.*"])
    record_event("program.crashed", web)
    mute = services.mute(actor="tester", everything=True)
    record_event("agent.lost")
    services.unmute(mute, actor="tester")
    record_event("program.running", web)
    since = timezone.now() - timedelta(hours=1)
    assert [event.type for event in services.missing_since(row, since)] == ["program.crashed", "agent.lost"]
    assert services.replay_missing(row, since=since, actor="tester") == 2
    assert services.missing_since(row, since) == []
    assert WebhookDelivery.objects.filter(state="pending").count() == 3


def test_events_older_than_the_retained_deliveries_are_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    row = endpoint()
    now = timezone.now()
    for age in (40, 20, 10):
        record_event("agent.started")
        ProgramEvent.objects.filter(deliveries__created_at__gt=now).update(timestamp=now - timedelta(days=age))
        WebhookDelivery.objects.filter(created_at__gt=now).update(created_at=now - timedelta(days=age))
    WebhookDelivery.objects.exclude(created_at__gt=now - timedelta(days=11)).delete()
    year = now - timedelta(days=365)
    assert len(services.missing_since(row, year)) == 1
    monkeypatch.setattr(retention, "MAX_PER_ENDPOINT", 1)
    assert services.missing_since(row, year) == []


def test_nothing_is_queued_for_a_disabled_endpoint() -> None:
    row = endpoint()
    delivery = finished("failed")
    row.enabled = delivery.endpoint.enabled = False
    since = timezone.now() - timedelta(hours=1)
    for act in (
        lambda: services.send_test(row, actor="tester"),
        lambda: services.redeliver(delivery, actor="tester"),
        lambda: services.recover(row, since=since, actor="tester"),
        lambda: services.replay_missing(row, since=since, actor="tester"),
    ):
        with pytest.raises(ConflictError):
            act()


def test_a_test_is_first_in_the_queue_and_does_not_wait_for_the_next_probe() -> None:
    row = endpoint()
    record_event("agent.started")
    later = timezone.now() + timedelta(minutes=1)
    WebhookEndpoint.objects.update(connect_failures=5, paused_until=later)
    WebhookDelivery.objects.update(next_attempt_at=timezone.now() - timedelta(days=1))
    delivery = services.send_test(row, actor="tester")
    (waiting,) = send_slots.pending_endpoints(SendQueue.REGULAR)
    assert waiting.paused_until is None
    (first,) = due_deliveries(waiting, SendQueue.REGULAR, timezone.now(), 1, is_bundle=False)
    assert first.delivery_id == delivery.pk


def test_a_changed_mute_is_validated() -> None:
    row = services.mute(actor="tester", everything=True, reason="move")
    services.change_mute(row, {"cron": "0 3 * * *", "cron_seconds": 600}, actor="tester")
    row.refresh_from_db()
    assert (row.cron, row.cron_seconds, row.reason) == ("0 3 * * *", 600, "move")
    assert AuditEntry.objects.filter(action="webhook.mute_changed").count() == 1
    with pytest.raises(ValidationError):
        services.change_mute(row, {"ends_at": row.starts_at}, actor="tester")


def test_too_many_missing_events_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    record_event("agent.started")
    record_event("agent.started")
    row = endpoint()
    monkeypatch.setattr(retention, "MAX_PER_ENDPOINT", 1)
    with pytest.raises(ValidationError) as refused:
        services.missing_since(row, timezone.now() - timedelta(hours=1))
    assert "since" in refused.value.message_dict


@pytest.mark.parametrize(
    "values", [{"cron": "every day"}, {"ends_at": timezone.now() - timedelta(days=1)}, {"reason": "x" * 201}]
)
def test_invalid_mutes_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        services.mute(actor="tester", **values)
