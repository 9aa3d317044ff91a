"""Usage history of programs and hosts, in tiers: recorded points, minutes, ten minutes, hours, days.

Rows store sums and extremes instead of averages, so that an average over any set of rows is exact. All tiers have
the same columns; docs/adr/0007-metrics-tiers.md explains the choice.

A usage table is clustered by (period, program, timestamp). `period` is the start of the bucket in the next coarser
tier. So rows that are written together are stored together (the points of 1,000 programs touch about 90 pages
instead of 1,000), and the rows of one program within a period are adjacent. To read one program, list the periods:

    tier.model.objects.filter(period__in=tier.periods(start, end), program=…, timestamp__range=(start, end))

`period__range` reads everything in between instead, which suits queries over all programs.
Timestamps are Unix seconds (UTC): the start of the time that the row covers.
"""

from __future__ import annotations

from django.db import models

from programs.models import Host, Program

from .alerts.models import Alert as Alert
from .alerts.models import AlertRule as AlertRule


class ProgramUsage(models.Model):
    """Usage of one program during one time interval, summed over its instances and their process trees.

    There is no row for an interval without samples. CPU values are hundredths of a percent of one core, as
    integers, which take a third of the space of floats.
    """

    pk = models.CompositePrimaryKey("period", "program_id", "timestamp")
    period = models.BigIntegerField()
    # No constraint: a removed program's rows are deleted later, in slices, so the database must not cascade.
    program = models.ForeignKey(
        Program, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    timestamp = models.BigIntegerField()

    count = models.IntegerField(help_text="Samples in this row")
    covered_ms = models.BigIntegerField(help_text="Time covered by the samples: how long the program ran")
    cpu_ms = models.BigIntegerField(help_text="CPU time used; average percentage = 100 * cpu_ms / covered_ms")
    cpu_min = models.IntegerField(help_text="Lowest sample, in hundredths of a percent of one core")
    cpu_max = models.IntegerField()
    cpu_last = models.IntegerField()
    memory_sum = models.BigIntegerField(
        help_text="Sum of resident bytes over all samples; average = memory_sum / count"
    )
    memory_min = models.BigIntegerField()
    memory_max = models.BigIntegerField()
    memory_last = models.BigIntegerField()
    threads_max = models.IntegerField()
    open_files_max = models.IntegerField(null=True, help_text="Null if the system does not report it")
    read_bytes = models.BigIntegerField(
        null=True, help_text="Read from storage during this row; null if the system does not report it"
    )
    write_bytes = models.BigIntegerField(null=True)

    class Meta:
        abstract = True


class ResourceUsage(ProgramUsage):
    """A recorded point: the samples of one interval of RECORD_SECONDS. Its period is the minute."""


class CoarseUsage(ProgramUsage):
    """Adds histograms of the recorded points, for percentiles (see `metrics.storage.histogram`)."""

    cpu_histogram = models.BinaryField(
        default=b"", help_text="Averages of the recorded points, in hundredths of a percent"
    )
    memory_histogram = models.BinaryField(default=b"", help_text="Averages of the recorded points, in bytes")

    class Meta:
        abstract = True


class ResourceUsageMinute(CoarseUsage):
    """Its period is ten minutes."""


class ResourceUsageTenMinutes(CoarseUsage):
    """Its period is the hour."""


class ResourceUsageHour(CoarseUsage):
    """Its period is the day (UTC)."""


class ResourceUsageDay(CoarseUsage):
    """A day in UTC. Its period is a block of 30 days since 1970."""


class HostUsage(models.Model):
    """Usage of a whole host. One table for all tiers, because a host writes one row at a time.

    `step` is the tier: 0 for recorded points, else the seconds that a row covers. Counters (bytes) are sums over
    the row; gauges are averages over its `count` recorded points, some with a maximum.
    """

    pk = models.CompositePrimaryKey("host_id", "step", "timestamp")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, db_index=False, related_name="+")
    step = models.IntegerField()
    timestamp = models.BigIntegerField()

    count = models.IntegerField(default=1)
    cpu_percent = models.FloatField(help_text="Of the whole host: 100 means that all cores are busy")
    cpu_percent_max = models.FloatField()
    cores = models.JSONField(default=list, help_text="Percent of each core")
    load_1 = models.FloatField(null=True)
    memory_total = models.BigIntegerField()
    memory_used = models.BigIntegerField(help_text="Total minus what is available without swapping")
    memory_used_max = models.BigIntegerField()
    swap_total = models.BigIntegerField()
    swap_used = models.BigIntegerField()
    disk_total = models.BigIntegerField(help_text="The file system with DATA_DIR")
    disk_used = models.BigIntegerField()
    disk_read_bytes = models.BigIntegerField(help_text="All disks, during this row")
    disk_write_bytes = models.BigIntegerField()
    network_received_bytes = models.BigIntegerField(help_text="All interfaces except loopback, during this row")
    network_sent_bytes = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "host usage"


class AgentVitals(models.Model):
    """Health of a host's agent as of its newest point. Counters start with the agent."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, primary_key=True, related_name="vitals")
    at = models.DateTimeField()
    ticks = models.BigIntegerField()
    ticks_missed = models.BigIntegerField(help_text="Skipped because the tick before took too long")
    tick_lag_seconds = models.FloatField(help_text="Delay of the last tick")
    tick_lag_seconds_max = models.FloatField()
    tick_seconds = models.FloatField(help_text="Duration of the last tick")
    write_seconds = models.FloatField(help_text="Duration of the last write of points")
    waiting_points = models.IntegerField(help_text="Sampled but not yet in the database")
    dropped_points = models.BigIntegerField(help_text="Dropped during a database outage")
    waiting_entries = models.IntegerField(help_text="States and events not yet in the database")

    class Meta:
        verbose_name_plural = "agent vitals"

    def __str__(self) -> str:
        return str(self.host_id)


class RecordedProgram(models.Model):
    """A program with history. The row stays until all history is deleted, also after the program is removed."""

    program_id = models.BigIntegerField(primary_key=True)

    def __str__(self) -> str:
        return str(self.program_id)


class OpenPeriod(models.Model):
    """A period with rows that are not yet rolled up into the next coarser tier.

    Created in the transaction of its first row and deleted in that of its last coarse row, so it survives a killed
    agent exactly while there is work left.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    tier = models.CharField(max_length=12)
    period = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "tier", "period"], name="open_period_unique")]

    def __str__(self) -> str:
        return f"{self.tier} {self.period}"
