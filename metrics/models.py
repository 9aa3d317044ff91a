"""The history of what programs and hosts used, in tiers: recorded points, minutes, ten minutes, hours, days.

Rows keep sums and extremes, never averages, so that an average over any stretch of rows is exact. A row of a
recorded point and a row of a day have the same columns; docs/adr/0007-metrics-tiers.md says why they are these.

A usage table is clustered by (period, program, timestamp). `period` is the start of the bucket of the next coarser
tier. Rows that are written together lie together, a thousand programs' points touch some ninety pages instead of a
thousand, and yet the rows of one program within a period are neighbours. To read one program, name the periods:

    tier.model.objects.filter(period__in=tier.periods(start, end), program=…, timestamp__range=(start, end))

`period__range` instead reads everything in between, which is right for all programs together.
Timestamps are Unix seconds (UTC): the start of what the row covers.
"""

from __future__ import annotations

from django.db import models

from programs.models import Host, Program

from .alerts.models import Alert as Alert
from .alerts.models import AlertRule as AlertRule


class Usage(models.Model):
    """What one program used during one stretch of time, summed over its instances and their process trees.

    There is no row for a time in which nothing was sampled: a gap is a gap. CPU is percent of one core, times 100,
    in whole numbers: they take a third of the room of floats.
    """

    pk = models.CompositePrimaryKey("period", "program_id", "timestamp")
    period = models.BigIntegerField()
    # A program's rows are removed in slices after it is gone, so the database must not insist or cascade.
    program = models.ForeignKey(
        Program, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    timestamp = models.BigIntegerField()

    count = models.IntegerField(help_text="Samples in this row")
    covered_ms = models.BigIntegerField(help_text="Time the samples speak for: the program ran that long")
    cpu_ms = models.BigIntegerField(help_text="CPU time used; the average percentage is 100 * cpu_ms / covered_ms")
    cpu_min = models.IntegerField(help_text="Lowest sample, in hundredths of a percent of one core")
    cpu_max = models.IntegerField()
    cpu_last = models.IntegerField()
    memory_sum = models.BigIntegerField(
        help_text="Resident bytes, over all samples; the average is memory_sum / count"
    )
    memory_min = models.BigIntegerField()
    memory_max = models.BigIntegerField()
    memory_last = models.BigIntegerField()
    threads_max = models.IntegerField()
    open_files_max = models.IntegerField(null=True, help_text="Null: the system does not tell us")
    read_bytes = models.BigIntegerField(null=True, help_text="From storage, during this row; null: not told")
    write_bytes = models.BigIntegerField(null=True)

    class Meta:
        abstract = True


class ResourceUsage(Usage):
    """A recorded point: the samples of RECORD_SECONDS. Its period is the minute."""


class CoarseUsage(Usage):
    """Adds what a percentile needs: how many recorded points fell where (see `metrics.storage.histogram`)."""

    cpu_histogram = models.BinaryField(default=b"", help_text="Of the points' average hundredths of a percent")
    memory_histogram = models.BinaryField(default=b"", help_text="Of the points' average bytes")

    class Meta:
        abstract = True


class ResourceUsageMinute(CoarseUsage):
    """Its period is ten minutes."""


class ResourceUsageTenMinutes(CoarseUsage):
    """Its period is the hour."""


class ResourceUsageHour(CoarseUsage):
    """Its period is the day (UTC)."""


class ResourceUsageDay(CoarseUsage):
    """A day in UTC. Its period is a block of 30 days, counted from 1970."""


class HostUsage(models.Model):
    """What a whole machine used. One table for all tiers, since one host writes one row at a time.

    `step` is the tier: 0 for recorded points, else the seconds a row covers. Counters (bytes) are sums over the
    row; gauges are averages over its `count` recorded points, with the highest where that matters.
    """

    pk = models.CompositePrimaryKey("host_id", "step", "timestamp")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, db_index=False, related_name="+")
    step = models.IntegerField()
    timestamp = models.BigIntegerField()

    count = models.IntegerField(default=1)
    cpu_percent = models.FloatField(help_text="Of the whole machine: 100 means that every core is busy")
    cpu_percent_max = models.FloatField()
    cores = models.JSONField(default=list, help_text="Percent of each core")
    load_1 = models.FloatField(null=True)
    memory_total = models.BigIntegerField()
    memory_used = models.BigIntegerField(help_text="Total less what could be had without swapping")
    memory_used_max = models.BigIntegerField()
    swap_total = models.BigIntegerField()
    swap_used = models.BigIntegerField()
    disk_total = models.BigIntegerField(help_text="The file system that holds DATA_DIR")
    disk_used = models.BigIntegerField()
    disk_read_bytes = models.BigIntegerField(help_text="All disks, during this row")
    disk_write_bytes = models.BigIntegerField()
    network_received_bytes = models.BigIntegerField(help_text="All interfaces but loopback, during this row")
    network_sent_bytes = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "host usage"


class AgentVitals(models.Model):
    """How well the agent of a host keeps up, as of its newest point. Counts begin with the agent."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, primary_key=True, related_name="vitals")
    at = models.DateTimeField()
    ticks = models.BigIntegerField()
    ticks_missed = models.BigIntegerField(help_text="Left out because the one before took too long")
    tick_lag_seconds = models.FloatField(help_text="By how much the last tick came late")
    tick_lag_seconds_max = models.FloatField()
    tick_seconds = models.FloatField(help_text="How long the last tick took")
    write_seconds = models.FloatField(help_text="How long the last writing of points took")
    waiting_points = models.IntegerField(help_text="Measured and not yet in the database")
    dropped_points = models.BigIntegerField(help_text="Given up while the database was away")
    waiting_entries = models.IntegerField(help_text="States and events not yet in the database")

    class Meta:
        verbose_name_plural = "agent vitals"

    def __str__(self) -> str:
        return str(self.host_id)


class RecordedProgram(models.Model):
    """A program that has history. This row stays until all of that is removed, also when the program is gone."""

    program_id = models.BigIntegerField(primary_key=True)

    def __str__(self) -> str:
        return str(self.program_id)


class OpenPeriod(models.Model):
    """A period with rows that the next coarser tier does not have yet.

    Marked in the transaction of its first row and cleared in that of its last coarse row, so an agent that was
    killed leaves behind exactly what is still to be done.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    tier = models.CharField(max_length=12)
    period = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "tier", "period"], name="open_period_unique")]

    def __str__(self) -> str:
        return f"{self.tier} {self.period}"
