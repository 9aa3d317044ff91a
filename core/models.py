"""Who may do what, who did what, what went wrong, and the one counter that orders everything that happens."""

from __future__ import annotations

from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _


class Sequence(models.Model):
    """A counter advanced inside the writing transaction, so its order is the order of commits.

    A database sequence would be cheaper, but hands out numbers that become visible out of order, and a
    reader who asks for "everything after 41" would then miss 40.
    """

    name = models.CharField(max_length=40, primary_key=True)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} {self.value}"

    @classmethod
    def advance(cls, name: str = "revision", by: int = 1) -> int:
        """The first of `by` fresh numbers. Call it inside `atomic()`."""
        if not cls.objects.filter(name=name).update(value=F("value") + by):
            cls.objects.create(name=name, value=by)
        value: int = cls.objects.values_list("value", flat=True).get(name=name)
        return value - by + 1

    @classmethod
    def current(cls, name: str = "revision") -> int:
        return cls.objects.filter(name=name).values_list("value", flat=True).first() or 0


class Heartbeat(models.Model):
    """When a part of the monitor last proved that it works."""

    name = models.CharField(max_length=80, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


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
    """Holds the three rights that roles and tokens are made of; it has no table of its own."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("read", "Can see programs, events and logs"),
            ("operate", "Can start, stop and restart programs"),
            ("administer", "Can define programs, which means running any command"),
        ]


class ApiToken(models.Model):
    """A key for scripts. Only its SHA-256 is stored; the key itself is shown once."""

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

    clear = ""  # the key itself, on nothing but the object of the request that makes it

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("API token")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class LoginThrottle(models.Model):
    """How often a user name failed to log in from one address since its window of time began."""

    key = models.CharField(max_length=64, primary_key=True)
    failures = models.PositiveSmallIntegerField(default=1)
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.failures} since {self.since:%H:%M}"


class AppendOnlyError(Exception):
    """Somebody tried to change or remove a row of the audit trail."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Adds and reads. `expire` is for retention alone."""

    def expire(self) -> int:
        return super().delete()[0]

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("audit entries are never changed or removed")

    update = delete = bulk_update = update_or_create = _refuse


class AuditEntry(models.Model):
    """One deed of a person or a token. Rows are only ever added."""

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
            raise AppendOnlyError("an audit entry is never changed")
        super().save(**kwargs | {"force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("an audit entry is never removed")


class ErrorGroup(models.Model):
    """Errors of the monitor itself that nobody handled and that went wrong in the same way, counted.

    Words (`message`, `traceback`, `place` …) are those of the last one. See `core.errors`.
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
