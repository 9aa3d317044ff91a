"""The tables of supervision. A Program is the definition, a Process one running instance of it.

`services` writes definitions, desired states and intents; only the agent writes processes. All `revision` columns
take their numbers from one counter (`core.models.Sequence`), so "what changed since 41" is one indexed query.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.ids import time_ordered_id

from . import validation
from .definition import rules
from .definition.fields import DEFAULTS, RestartPolicy, Stdin, default_stop_ladder, default_success_exit_codes
from .definition.values import Condition
from .policy import Rules
from .states import Action, State


class Host(models.Model):
    """A machine with an agent. The default host runs the programs without a host."""

    name = models.CharField(max_length=100, unique=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    version = models.CharField(max_length=40, blank=True)
    platform = models.CharField(max_length=120, blank=True)
    is_default = models.BooleanField(default=False)
    journal_written = models.BigIntegerField(default=0, editable=False)
    # Whether a lost heartbeat is to be reported: not after a clean stop, and not twice.
    is_watched = models.BooleanField(default=False, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_host")
        ]

    def __str__(self) -> str:
        return self.name


class ProgramQuerySet(models.QuerySet["Program"]):
    def present(self) -> ProgramQuerySet:
        """Without removed programs whose last process the agent still has to stop."""
        return self.filter(removed_at=None)

    def of_host(self, host: Host) -> ProgramQuerySet:
        return self.filter(Q(host=host) | Q(host=None)) if host.is_default else self.filter(host=host)


class PresentManager(models.Manager.from_queryset(ProgramQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> ProgramQuerySet:
        return ProgramQuerySet(self.model, using=self._db).present()


class Program(models.Model):
    """A definition and its desired state. docs/programs.md explains the fields."""

    RestartPolicy = RestartPolicy
    Stdin = Stdin

    class Desired(models.TextChoices):
        RUNNING = "running", _("Running")
        STOPPED = "stopped", _("Stopped")

    # `definition.fields` states type, default and help text of these.
    name = models.CharField(max_length=100, validators=[validation.name])
    description = models.TextField(blank=True, default=DEFAULTS.description)
    tags = models.JSONField(default=list, blank=True, validators=[validation.tags])
    host = models.ForeignKey(Host, on_delete=models.PROTECT, null=True, blank=True, related_name="programs")

    command = models.TextField()
    shell = models.BooleanField(default=DEFAULTS.shell)
    working_directory = models.CharField(max_length=4096, blank=True, default=DEFAULTS.working_directory)
    environment = models.JSONField(default=list, blank=True, validators=[validation.environment])
    # Encrypted former values of secret variables: running processes and log files can still contain them.
    replaced_secrets = models.JSONField(default=list, blank=True, editable=False)
    stdin = models.CharField(max_length=10, choices=Stdin.choices, default=DEFAULTS.stdin)
    user = models.CharField(max_length=64, blank=True, default=DEFAULTS.user)
    umask = models.CharField(max_length=4, null=True, blank=True, validators=[validation.umask])  # noqa: DJ001
    nice = models.SmallIntegerField(null=True, blank=True, validators=[validation.nice])
    max_open_files = models.PositiveIntegerField(null=True, blank=True, validators=[validation.positive])
    max_memory_bytes = models.PositiveBigIntegerField(null=True, blank=True, validators=[validation.positive])

    autostart = models.BooleanField(default=DEFAULTS.autostart)
    restart_policy = models.CharField(
        max_length=12, choices=RestartPolicy.choices, default=DEFAULTS.restart_policy
    )
    success_exit_codes = models.JSONField(
        default=default_success_exit_codes, blank=True, validators=[validation.exit_codes]
    )
    start_seconds = models.FloatField(default=DEFAULTS.start_seconds, validators=[validation.seconds])
    backoff_initial = models.FloatField(default=DEFAULTS.backoff_initial, validators=[validation.seconds])
    backoff_factor = models.FloatField(default=DEFAULTS.backoff_factor, validators=[validation.factor])
    backoff_max = models.FloatField(default=DEFAULTS.backoff_max, validators=[validation.seconds])
    backoff_jitter = models.FloatField(default=DEFAULTS.backoff_jitter, validators=[validation.share])
    stable_seconds = models.FloatField(default=DEFAULTS.stable_seconds, validators=[validation.seconds])
    max_restarts = models.PositiveIntegerField(default=DEFAULTS.max_restarts)
    restart_window = models.FloatField(default=DEFAULTS.restart_window, validators=[validation.seconds])
    restart_cron = models.CharField(
        max_length=100, blank=True, default=DEFAULTS.restart_cron, validators=[validation.cron]
    )
    stop_ladder = models.JSONField(default=default_stop_ladder, blank=True, validators=[validation.stop_ladder])

    instances_min = models.PositiveSmallIntegerField(default=DEFAULTS.instances_min)
    instances_max = models.PositiveSmallIntegerField(default=DEFAULTS.instances_max)
    scale_cpu_percent = models.FloatField(null=True, blank=True, validators=[validation.positive])
    probes = models.JSONField(default=list, blank=True, validators=[validation.probes])

    log_max_bytes = models.PositiveBigIntegerField(
        default=DEFAULTS.log_max_bytes, validators=[validation.log_size]
    )
    log_backups = models.PositiveSmallIntegerField(default=DEFAULTS.log_backups)
    log_compress = models.BooleanField(default=DEFAULTS.log_compress)

    desired_state = models.CharField(max_length=10, choices=Desired.choices, default=Desired.RUNNING)
    desired_instances = models.PositiveSmallIntegerField(default=1)
    revision = models.BigIntegerField(default=0, db_index=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)

    everything: ClassVar[models.Manager[Program]] = ProgramQuerySet.as_manager()
    objects: ClassVar[models.Manager[Program]] = PresentManager()

    class Meta:
        ordering = ["name"]
        base_manager_name = "everything"
        default_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(removed_at=None),
                name="program_name_unique",
                violation_error_message=_("There is already a program with this name."),
            ),
            models.CheckConstraint(
                condition=Q(instances_max__gte=models.F("instances_min")),
                name="program_instances_ordered",
                violation_error_message=_("instances_max must not be below instances_min."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        rules.check(self)

    @property
    def is_local(self) -> bool:
        """Whether this machine runs it; programs without a host belong to the default host."""
        if self.host is not None:
            return self.host.name == settings.HOST_NAME
        default = Host.objects.filter(is_default=True).values_list("name", flat=True).first()
        return default in (None, settings.HOST_NAME)

    @property
    def restart_rules(self) -> Rules:
        return Rules(
            restart_policy=self.restart_policy,
            success_exit_codes=frozenset(self.success_exit_codes),
            backoff_initial=self.backoff_initial,
            backoff_factor=self.backoff_factor,
            backoff_max=self.backoff_max,
            backoff_jitter=self.backoff_jitter,
            stable_seconds=self.stable_seconds,
            max_restarts=self.max_restarts,
            restart_window=self.restart_window,
        )


class Dependency(models.Model):
    """`program` starts only once `requires` is started, or healthy."""

    Condition = Condition

    program = models.ForeignKey(Program, on_delete=models.CASCADE, related_name="dependencies")
    requires = models.ForeignKey(Program, on_delete=models.PROTECT, related_name="dependents")
    condition = models.CharField(max_length=10, choices=Condition.choices, default=Condition.STARTED)

    class Meta:
        verbose_name_plural = _("dependencies")
        constraints = [models.UniqueConstraint(fields=["program", "requires"], name="dependency_unique")]

    def __str__(self) -> str:
        return f"{self.program} needs {self.requires} {self.condition}"


class ProgramRevision(models.Model):
    """One saved version of a definition, and its changes against the one before (secrets masked)."""

    program = models.ForeignKey(Program, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    actor = models.CharField(max_length=150)
    at = models.DateTimeField(default=timezone.now)
    definition = models.JSONField()
    changes = models.JSONField(default=dict)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["program", "number"], name="revision_number_unique")]
        indexes = [models.Index(fields=["program", "-number"])]

    def __str__(self) -> str:
        return f"{self.program} #{self.number}"


class Process(models.Model):
    """One instance of a program. Only the agent of its host writes it."""

    STORED_STATES = [(state.value, state.value) for state in State if state is not State.UNKNOWN]

    program = models.ForeignKey(Program, on_delete=models.CASCADE, related_name="processes")
    index = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=STORED_STATES, default=State.STOPPED)
    reason = models.CharField(max_length=500, blank=True)
    pid = models.PositiveIntegerField(null=True)
    boot_id = models.CharField(max_length=40, blank=True)
    kernel_start = models.BigIntegerField(null=True, help_text=_("Clock ticks after boot, as the kernel says"))
    marker = models.CharField(max_length=80, blank=True)
    definition_number = models.PositiveIntegerField(null=True)
    cpu_percent = models.FloatField(default=0)
    memory_bytes = models.BigIntegerField(default=0)
    threads = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    next_start_at = models.DateTimeField(null=True)
    restarts = models.PositiveIntegerField(default=0)
    recent_restarts = models.JSONField(default=list)
    exit_code = models.BigIntegerField(null=True)  # Windows has unsigned 32 bits
    exit_signal = models.CharField(max_length=20, null=True)  # noqa: DJ001  (null: not ended by a signal)
    health = models.CharField(max_length=10, blank=True)
    revision = models.BigIntegerField(default=0, db_index=True)

    class Meta:
        ordering = ["program", "index"]
        verbose_name_plural = _("processes")
        constraints = [models.UniqueConstraint(fields=["program", "index"], name="process_index_unique")]

    def __str__(self) -> str:
        return f"{self.program}:{self.index}"


class Intent(models.Model):
    """A requested action that the agent has not carried out yet."""

    program = models.ForeignKey(Program, on_delete=models.CASCADE, related_name="intents")
    verb = models.CharField(max_length=10, choices=[(verb, verb) for verb in (*Action, "input", "adopt")])
    data = models.JSONField(default=dict)
    actor = models.CharField(max_length=150)
    at = models.DateTimeField(default=timezone.now)
    revision = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.verb} {self.program}"


def event_id() -> str:
    return time_ordered_id("evt")


class ProgramEvent(models.Model):
    """Outlives its program, hence the copy of the name."""

    class Severity(models.TextChoices):
        INFO = "info", _("Info")
        WARNING = "warning", _("Warning")
        ERROR = "error", _("Error")

    uid = models.CharField(max_length=40, unique=True, default=event_id, editable=False)
    seq = models.BigIntegerField(unique=True)
    type = models.CharField(max_length=40)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.INFO)
    program = models.ForeignKey(Program, on_delete=models.SET_NULL, null=True, related_name="events")
    program_name = models.CharField(max_length=100, blank=True)
    process_index = models.PositiveSmallIntegerField(null=True)
    timestamp = models.DateTimeField()
    actor = models.CharField(max_length=150, blank=True)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["-timestamp", "-seq"]
        indexes = [
            models.Index(fields=["-timestamp", "-seq"]),
            models.Index(fields=["program", "-timestamp"]),
            models.Index(fields=["type", "-timestamp"]),
            # For messages about an exit, which all ask how often the program was restarted lately.
            models.Index(
                fields=["program", "timestamp"],
                condition=models.Q(type="program.restarted"),
                name="event_restarts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.program_name}".strip()


class Incident(models.Model):
    """An unexpected exit, with everything known about it when it happened."""

    event = models.OneToOneField(ProgramEvent, on_delete=models.CASCADE, related_name="incident")
    program = models.ForeignKey(Program, on_delete=models.SET_NULL, null=True, related_name="incidents")
    program_name = models.CharField(max_length=100)
    process_index = models.PositiveSmallIntegerField()
    timestamp = models.DateTimeField()
    exit_code = models.BigIntegerField(null=True)  # Windows has unsigned 32 bits
    exit_signal = models.CharField(max_length=20, null=True)  # noqa: DJ001  (null: not ended by a signal)
    meaning = models.CharField(max_length=300)
    out_of_memory = models.BooleanField(default=False)
    uptime_seconds = models.FloatField(null=True)
    log_lines = models.JSONField(default=list)
    metrics_before = models.JSONField(default=dict)
    changes_before = models.JSONField(default=list)
    fingerprint = models.CharField(max_length=64, db_index=True)

    class Meta:
        ordering = ["-timestamp"]
        indexes = [models.Index(fields=["program", "-timestamp"]), models.Index(fields=["-timestamp"])]

    def __str__(self) -> str:
        return f"{self.program_name}: {self.meaning}"
