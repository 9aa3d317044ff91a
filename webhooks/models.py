"""Webhook endpoints, deliveries, attempts and mutes.

People write endpoints and mutes. Only outbox and worker write deliveries, attempts and the health columns of an
endpoint. A delivery is due when it is `pending` and `next_attempt_at` has passed. Claiming it sets
`next_attempt_at` to the end of the lease, so it becomes due again by itself if the worker crashes.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core import secrets
from core.ids import time_ordered_id
from programs.models import Program, ProgramEvent

from . import validation

# Seconds between the attempts: short at first because alerts get stale; ten attempts within 41 h 37 min 35 s.
DEFAULT_RETRY_SCHEDULE = (5, 30, 120, 300, 1_800, 7_200, 18_000, 36_000, 86_400)
CHAT_MAX_AGE_SECONDS = 86_400  # for formats read by people; signed deliveries never expire by default


def default_retry_schedule() -> list[int]:
    return list(DEFAULT_RETRY_SCHEDULE)


# What new endpoints start with in the form and on the command line. The API's default is documented as it is.
SUGGESTED_EVENTS = ["program.crashed", "program.fatal", "program.unhealthy", "alert.*"]


def default_events() -> list[str]:
    return ["program.*"]


class OldSecret(NamedTuple):
    """A secret that was rotated away and signs until then."""

    secret: str
    until: datetime


class WebhookEndpoint(models.Model):
    """Where to send which events. URL, secrets and the format's settings are encrypted."""

    name = models.CharField(max_length=100, unique=True, validators=[validation.name])
    format = models.CharField(max_length=30, default="standard")
    enabled = models.BooleanField(default=True)
    # Encrypted as a whole: many services put their token into the path.
    encrypted_url = models.TextField(editable=False)
    encrypted_secret = models.TextField(blank=True, editable=False)
    # A list, see `old_secrets`; `old_secret_until` is when the last of them expires.
    encrypted_old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False)
    encrypted_settings = models.TextField(blank=True, editable=False)

    events = models.JSONField(default=default_events, validators=[validation.event_patterns])
    programs = models.JSONField(default=list, blank=True, validators=[validation.program_ids])
    tags = models.JSONField(default=list, blank=True, validators=[validation.tags])
    min_severity = models.CharField(
        max_length=10, choices=ProgramEvent.Severity.choices, default=ProgramEvent.Severity.INFO
    )
    conditions = models.JSONField(default=dict, blank=True, validators=[validation.conditions])

    retry_schedule = models.JSONField(
        default=default_retry_schedule, blank=True, validators=[validation.retry_schedule]
    )
    timeout_seconds = models.FloatField(default=15, validators=[validation.timeout])
    max_concurrency = models.PositiveSmallIntegerField(default=4, validators=[validation.concurrency])
    rate_per_second = models.FloatField(default=10, validators=[validation.rate])
    bundle_seconds = models.FloatField(default=0, validators=[validation.bundle])
    max_age_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[validation.max_age], help_text=_("Empty: the default of the format.")
    )

    verify_tls = models.BooleanField(default=True)
    ca_certificates = models.TextField(
        blank=True,
        validators=[validation.certificates],
        help_text=_("In PEM format. They replace the system's certificate authorities."),
    )

    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)
    connect_failures = models.PositiveIntegerField(default=0, editable=False)
    paused_until = models.DateTimeField(null=True, editable=False)
    # See `delivery.rate_limit`.
    paced_until = models.DateTimeField(null=True, editable=False)
    last_success_at = models.DateTimeField(null=True, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    failed_messages = models.PositiveIntegerField(default=0, editable=False)
    last_error = models.CharField(max_length=500, blank=True, editable=False)

    revision = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    enabled_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        """Decrypted: a credential. Raises SecretUnreadableError."""
        return secrets.decrypt(self.encrypted_url) if self.encrypted_url else ""

    @url.setter
    def url(self, value: str) -> None:
        self.encrypted_url = secrets.encrypt(value)

    @property
    def secret(self) -> str:
        return secrets.decrypt(self.encrypted_secret) if self.encrypted_secret else ""

    @secret.setter
    def secret(self, value: str) -> None:
        self.encrypted_secret = secrets.encrypt(value) if value else ""

    @property
    def old_secrets(self) -> list[OldSecret]:
        """Newest first, including expired ones. Raises SecretUnreadableError."""
        text = secrets.decrypt(self.encrypted_old_secret) if self.encrypted_old_secret else "[]"
        # Up to version 0.1 the column held a single secret.
        if not text.startswith("["):
            return [OldSecret(text, self.old_secret_until)] if self.old_secret_until else []
        return [OldSecret(secret, datetime.fromisoformat(until)) for secret, until in json.loads(text)]

    @old_secrets.setter
    def old_secrets(self, value: list[OldSecret]) -> None:
        stored = json.dumps([(old.secret, old.until.isoformat()) for old in value])
        self.encrypted_old_secret = secrets.encrypt(stored) if value else ""
        self.old_secret_until = max((old.until for old in value), default=None)

    @property
    def settings(self) -> dict[str, Any]:
        """Decrypted settings of the format. Raises SecretUnreadableError."""
        found: dict[str, Any] = (
            json.loads(secrets.decrypt(self.encrypted_settings)) if self.encrypted_settings else {}
        )
        return found

    @settings.setter
    def settings(self, value: dict[str, Any]) -> None:
        self.encrypted_settings = secrets.encrypt(json.dumps(value)) if value else ""

    @property
    def masked_url(self) -> str:
        # Only scheme, host and port: the rest may be a key.
        parts = urlsplit(self.url)
        # `netloc` may contain user and password.
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{secrets.MASK}"


def message_id() -> str:
    return time_ordered_id("msg")


class WebhookDelivery(models.Model):
    """One event for one endpoint. The id is the same in all attempts, so receivers can drop duplicates."""

    class State(models.TextChoices):
        PENDING = "pending", _("Pending")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Failed: the receiver refused it permanently")
        EXHAUSTED = "exhausted", _("Exhausted: all attempts failed")
        CANCELLED = "cancelled", _("Cancelled")
        BLOCKED = "blocked", _("Blocked: cannot be sent with these settings")
        EXPIRED = "expired", _("Expired: too old to be sent")
        DEAD = "dead", _("Dead: its worker crashed three times")

    class Trigger(models.TextChoices):
        EVENT = "event", _("Event")
        RETRY = "retry", _("Retry")
        MANUAL = "manual", _("Manual")
        TEST = "test", _("Test")

    id = models.CharField(max_length=40, primary_key=True, default=message_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    # No index: that of the unique constraint starts with the event.
    event = models.ForeignKey(ProgramEvent, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True)
    # What a muted event is about that may outlast the mute, see `outbox.lasting`; null: nothing to send later.
    withheld = models.CharField(max_length=200, null=True, editable=False)  # noqa: DJ001
    # Its age counts from here instead of from the event: when a person asked to send it, or a mute ended.
    age_from = models.DateTimeField(null=True, editable=False)
    next_trigger = models.CharField(max_length=10, choices=Trigger.choices, default=Trigger.EVENT)
    lease_until = models.DateTimeField(null=True)
    attempt_count = models.PositiveIntegerField(default=0, help_text=_("All attempts, counted before sending."))
    round_count = models.PositiveIntegerField(
        default=0, help_text=_("Attempts since the retry schedule last started.")
    )
    crash_count = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = _("webhook deliveries")
        constraints = [models.UniqueConstraint(fields=["event", "endpoint"], name="delivery_unique")]
        indexes = [
            models.Index(fields=["state", "next_attempt_at"]),
            models.Index(fields=["endpoint", "-created_at"]),
            # For the queries of every claim. Partial: stays small however long the log is.
            models.Index(
                fields=["endpoint", "next_attempt_at"],
                condition=Q(state="pending", crash_count=0),
                name="delivery_due",
            ),
            models.Index(
                fields=["endpoint", "next_attempt_at"],
                condition=Q(state="pending", crash_count__gt=0),
                name="delivery_suspect",
            ),
            models.Index(
                fields=["endpoint", "withheld"],
                condition=Q(withheld__isnull=False),
                name="delivery_withheld",
            ),
            models.Index(fields=["lease_until"], condition=Q(lease_until__isnull=False), name="delivery_leased"),
        ]

    def __str__(self) -> str:
        return self.id


class WebhookAttempt(models.Model):
    delivery = models.ForeignKey(
        # No index: that of the unique constraint starts with the delivery.
        WebhookDelivery,
        on_delete=models.CASCADE,
        related_name="attempts",
        db_index=False,
    )
    number = models.PositiveIntegerField()
    trigger = models.CharField(max_length=10, choices=WebhookDelivery.Trigger.choices)
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField(null=True)
    status = models.PositiveSmallIntegerField(null=True)
    error_class = models.CharField(max_length=20, blank=True)
    error = models.CharField(max_length=500, blank=True)
    response = models.TextField(blank=True, help_text=_("The first 4 KiB of the response."))
    peer = models.CharField(max_length=60, blank=True, help_text=_("IP address of the receiver."))

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="attempt_number_unique")]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"


class WebhookMute(models.Model):
    """Mutes one endpoint or all, for one program or all, once or in recurring maintenance windows (`cron`).

    Events in that time get a cancelled delivery, which can be looked up and sent later.
    """

    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, null=True, blank=True, related_name="mutes"
    )
    program = models.ForeignKey(
        Program, on_delete=models.CASCADE, null=True, blank=True, related_name="webhook_mutes"
    )
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True, help_text=_("Empty: until someone removes the mute."))
    cron = models.CharField(
        max_length=100,
        blank=True,
        validators=[validation.cron],
        help_text=_("When maintenance windows start"),
    )
    cron_seconds = models.PositiveIntegerField(
        default=3600, validators=[validation.window], help_text=_("How long each window lasts, in seconds.")
    )
    reason = models.CharField(max_length=200, blank=True)
    actor = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        ordering = ["-starts_at"]

    def __str__(self) -> str:
        return self.reason or f"mute {self.pk}"


class JobTicket(models.Model):
    """Lock of a job, see `delivery.job_locks`."""

    name = models.CharField(max_length=20, primary_key=True)
    queued_at = models.DateTimeField(null=True)
    queue_row = models.BigIntegerField(null=True)
    holder = models.CharField(max_length=40, blank=True)
    held_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name
