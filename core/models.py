"""Access, the audit trail, grouped errors, heartbeats and the revision counter."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _

JOBS = "jobs"  # the name of the job cluster's heartbeat
JOBS_LOST_AFTER = timedelta(seconds=60)


class Sequence(models.Model):
    """A counter that is advanced inside the writing transaction, so that its order is the order of commits.

    The numbers of a database sequence become visible out of order: a reader that asks for everything after 41
    could miss 40.
    """

    name = models.CharField(max_length=40, primary_key=True)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} {self.value}"

    @classmethod
    def advance(cls, name: str = "revision", by: int = 1) -> int:
        """Reserves `by` numbers and returns the first. Call it inside `atomic()`."""
        if not cls.objects.filter(name=name).update(value=F("value") + by):
            cls.objects.create(name=name, value=by)
        value: int = cls.objects.values_list("value", flat=True).get(name=name)
        return value - by + 1

    @classmethod
    def current(cls, name: str = "revision") -> int:
        return cls.objects.filter(name=name).values_list("value", flat=True).first() or 0


class Heartbeat(models.Model):
    """When a process of the monitor last proved that it works."""

    name = models.CharField(max_length=80, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


def jobs_heartbeat() -> datetime | None:
    return Heartbeat.objects.filter(name=JOBS).values_list("at", flat=True).first()


def jobs_are_alive(at: datetime | None, now: datetime) -> bool:
    return at is not None and now - at < JOBS_LOST_AFTER


class RetentionState(models.Model):
    """The one row about retention: who deletes, by which settings, and the last trusted time. See ADR 24."""

    ONLY = 1  # its primary key

    kept = models.JSONField(default=dict, help_text="Setting → value, as the agent of the default host has it")
    owner = models.CharField(max_length=255, blank=True, help_text="The host whose agent deletes")
    renewed_at = models.DateTimeField(null=True, help_text="When the owner claimed this last")
    seen_at = models.DateTimeField(null=True, help_text="The last time at which the clock was trusted")
    boot = models.CharField(max_length=64, blank=True, help_text="The kernel's id of the boot at `seen_at`")
    uptime = models.FloatField(default=0.0, help_text="Seconds since that boot at `seen_at`")
    held_since = models.DateTimeField(null=True, help_text="Nothing is deleted until a person confirms the clock")

    def __str__(self) -> str:
        return f"retention by {self.owner or 'nobody'}"


class Access(models.Model):
    """Holds the three permissions behind the roles; has no table."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("read", "Can see programs, events and logs"),
            ("operate", "Can start, stop and restart programs"),
            ("administer", "Can define programs, which means running any command"),
        ]


class ApiToken(models.Model):
    """A token for scripts. Only its SHA-256 is stored; the token itself is shown once."""

    class Scope(models.TextChoices):
        READ = "read", _("Read")
        OPERATE = "operate", _("Operate: start, stop, restart")
        ADMIN = "admin", _("Administer: define programs")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.READ)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    plaintext = ""  # the token itself, set only on the object of the request that creates it

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("API token")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class LoginThrottle(models.Model):
    """Failed logins of one user name from one address since `since`."""

    key = models.CharField(max_length=64, primary_key=True)
    failures = models.PositiveSmallIntegerField(default=1)
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.failures} since {self.since:%H:%M}"


class AppendOnlyError(Exception):
    """Code tried to change or delete a row of the audit trail."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Refuses to change or delete rows, except `expire` for the retention."""

    def expire(self) -> int:
        return super().delete()[0]

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("audit entries cannot be changed or deleted")

    update = delete = bulk_update = update_or_create = _refuse


class AuditEntry(models.Model):
    """One action of a user, a token or a command. Rows are only added."""

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=20, default="done")
    address = models.GenericIPAddressField(null=True, blank=True)
    data = models.JSONField(default=dict, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = _("audit entries")
        indexes = [models.Index(fields=["-at"]), models.Index(fields=["action", "-at"])]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target}".strip()

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError("an audit entry cannot be changed")
        super().save(**kwargs | {"force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("an audit entry cannot be deleted")


class ErrorGroup(models.Model):
    """Unhandled errors of the monitor itself with the same type and call path, counted. See `core.errors`.

    `message`, `traceback`, `place` and so on are those of the latest one.
    """

    fingerprint = models.CharField(max_length=16, unique=True, editable=False)
    kind = models.CharField(max_length=200)
    culprit = models.CharField(max_length=200, blank=True)
    process = models.CharField(max_length=40)
    place = models.CharField(max_length=200, blank=True)
    host = models.CharField(max_length=100, blank=True)
    version = models.CharField(max_length=40, blank=True)
    message = models.CharField(max_length=500, blank=True)
    traceback = models.TextField(blank=True)
    count = models.PositiveBigIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(db_index=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-last_seen_at"]
        verbose_name = _("error")
        verbose_name_plural = _("errors")

    def __str__(self) -> str:
        return f"{self.kind} in {self.culprit}" if self.culprit else self.kind
