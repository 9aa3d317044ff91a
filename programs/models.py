"""The tables of supervision. A Program is the definition, a Process one running instance, an event a fact.

Who writes what: people and the API write definitions, desired states and intents; the agent alone writes
processes. `revision` columns take their numbers from one counter (`core.models.Sequence`), so "what changed
since 41" is one indexed look-up.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.ids import time_ordered_id

from . import defaults, validation
from .policy import Rules
from .states import Action, State


class Host(models.Model):
    """A machine with an agent. The first one known runs the programs that name no host."""

    name = models.CharField(max_length=100, unique=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    version = models.CharField(max_length=40, blank=True)
    platform = models.CharField(max_length=120, blank=True)
    is_default = models.BooleanField(default=False)
    journal_written = models.BigIntegerField(default=0, editable=False)
    # Whether a silence of the agent would be news: not after a clean stop, and not once it was told.
    is_watched = models.BooleanField(default=False, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_host")
        ]

    def __str__(self) -> str:
        return self.name


class ProgramQuerySet(models.QuerySet["Program"]):
    def present(self) -> ProgramQuerySet:
        """Without those that wait for the agent to stop their last process."""
        return self.filter(removed_at=None)

    def of_host(self, host: Host) -> ProgramQuerySet:
        return self.filter(Q(host=host) | Q(host=None)) if host.is_default else self.filter(host=host)


class PresentManager(models.Manager.from_queryset(ProgramQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> ProgramQuerySet:
        return ProgramQuerySet(self.model, using=self._db).present()


class Program(models.Model):
    """A definition. Field by field it is the JSON of the API; docs/programs.md explains each."""

    class RestartPolicy(models.TextChoices):
        ALWAYS = "always", _("Always")
        ON_FAILURE = "on-failure", _("On failure")
        NEVER = "never", _("Never")

    class Stdin(models.TextChoices):
        NULL = "null", _("None")
        CONSOLE = "console", _("Console: lines can be sent to it")

    class Desired(models.TextChoices):
        RUNNING = "running", _("Running")
        STOPPED = "stopped", _("Stopped")

    name = models.CharField(max_length=100, validators=[validation.name])
    description = models.TextField(blank=True, default="")
    tags = models.JSONField(default=list, blank=True, validators=[validation.tags])
    host = models.ForeignKey(Host, on_delete=models.PROTECT, null=True, blank=True, related_name="programs")

    command = models.TextField(help_text=_("Split into words as a shell would; no shell runs unless you ask."))
    shell = models.BooleanField(default=False, help_text=_("Hand the command to /bin/sh."))
    working_directory = models.CharField(max_length=4096, blank=True, default="")
    environment = models.JSONField(default=list, blank=True, validators=[validation.environment])
    # Encrypted former values of secret variables: running processes and log files can still contain them.
    replaced_secrets = models.JSONField(default=list, blank=True, editable=False)
    stdin = models.CharField(max_length=10, choices=Stdin.choices, default=Stdin.NULL)
    user = models.CharField(max_length=64, blank=True, default="")
    umask = models.CharField(max_length=4, null=True, blank=True, validators=[validation.umask])  # noqa: DJ001
    nice = models.SmallIntegerField(null=True, blank=True, validators=[validation.nice])
    max_open_files = models.PositiveIntegerField(null=True, blank=True, validators=[validation.positive])
    max_memory_bytes = models.PositiveBigIntegerField(null=True, blank=True, validators=[validation.positive])

    autostart = models.BooleanField(default=True)
    restart_policy = models.CharField(
        max_length=12, choices=RestartPolicy.choices, default=RestartPolicy.ON_FAILURE
    )
    success_exit_codes = models.JSONField(
        default=defaults.success_exit_codes, blank=True, validators=[validation.exit_codes]
    )
    start_seconds = models.FloatField(default=1, validators=[validation.seconds])
    backoff_initial = models.FloatField(default=1, validators=[validation.seconds])
    backoff_factor = models.FloatField(default=2, validators=[validation.factor])
    backoff_max = models.FloatField(default=300, validators=[validation.seconds])
    backoff_jitter = models.FloatField(default=0.2, validators=[validation.share])
    stable_seconds = models.FloatField(default=600, validators=[validation.seconds])
    max_restarts = models.PositiveIntegerField(default=10)
    restart_window = models.FloatField(default=600, validators=[validation.seconds])
    restart_cron = models.CharField(max_length=100, blank=True, default="", validators=[validation.cron])
    stop_ladder = models.JSONField(default=defaults.stop_ladder, blank=True, validators=[validation.stop_ladder])

    instances_min = models.PositiveSmallIntegerField(default=1)
    instances_max = models.PositiveSmallIntegerField(default=1)
    scale_cpu_percent = models.FloatField(null=True, blank=True, validators=[validation.positive])
    probes = models.JSONField(default=list, blank=True, validators=[validation.probes])

    log_max_bytes = models.PositiveBigIntegerField(default=52_428_800, validators=[validation.log_size])
    log_backups = models.PositiveSmallIntegerField(default=10)
    log_compress = models.BooleanField(default=True)

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
        validation.definition(self)

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
    """`program` starts only when `requires` is started, or healthy."""

    class Condition(models.TextChoices):
        STARTED = "started", _("started")
        HEALTHY = "healthy", _("healthy")

    program = models.ForeignKey(Program, on_delete=models.CASCADE, related_name="dependencies")
    requires = models.ForeignKey(Program, on_delete=models.PROTECT, related_name="dependents")
    condition = models.CharField(max_length=10, choices=Condition.choices, default=Condition.STARTED)

    class Meta:
        verbose_name_plural = _("dependencies")
        constraints = [models.UniqueConstraint(fields=["program", "requires"], name="dependency_unique")]

    def __str__(self) -> str:
        return f"{self.program} needs {self.requires} {self.condition}"


class ProgramRevision(models.Model):
    """One saved definition: who, when, and what changed against the one before (secrets masked)."""

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
    """One instance of a program. Written by the agent of its host alone."""

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
    exit_signal = models.CharField(max_length=20, null=True)  # noqa: DJ001  (null: no signal ended it)
    health = models.CharField(max_length=10, blank=True)
    revision = models.BigIntegerField(default=0, db_index=True)

    class Meta:
        ordering = ["program", "index"]
        verbose_name_plural = _("processes")
        constraints = [models.UniqueConstraint(fields=["program", "index"], name="process_index_unique")]

    def __str__(self) -> str:
        return f"{self.program}:{self.index}"


class Intent(models.Model):
    """A verb somebody asked for, waiting for the agent. The desired state is on the program itself."""

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
    """A fact that happened. Outlives the program it is about, hence the copied name."""

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
            # What every message about an end asks: how often was this program restarted lately?
            models.Index(
                fields=["program", "timestamp"],
                condition=models.Q(type="program.restarted"),
                name="event_restarts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.program_name}".strip()


class Incident(models.Model):
    """Why a process ended unexpectedly: everything known at that moment, kept together."""

    event = models.OneToOneField(ProgramEvent, on_delete=models.CASCADE, related_name="incident")
    program = models.ForeignKey(Program, on_delete=models.SET_NULL, null=True, related_name="incidents")
    program_name = models.CharField(max_length=100)
    process_index = models.PositiveSmallIntegerField()
    timestamp = models.DateTimeField()
    exit_code = models.BigIntegerField(null=True)  # Windows has unsigned 32 bits
    exit_signal = models.CharField(max_length=20, null=True)  # noqa: DJ001  (null: no signal ended it)
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
