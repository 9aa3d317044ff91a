"""Keeps a cluster working. Living processes prove nothing; only finished jobs do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from django import db
from django.conf import settings
from django.utils import timezone

from core.access.audit import audit
from core.models import JOBS, Heartbeat
from monitor_site.serving.backoff import Backoff
from monitor_site.serving.children import describe_exit
from monitor_site.serving.signals import Signals
from webhooks.delivery.pump import Pump

from . import marker, queue
from .cluster import RunningCluster
from .lost_agents import LostAgentDetector

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WatchdogConfig:
    """Seconds, unless a type says otherwise.

    `stale_after` must exceed the longest job: while every worker is busy, nothing finishes and nothing is wrong.
    `drain` is the time that running jobs get after a stop request; `serve` allows one second more.
    """

    check: float = 1.0
    heartbeat: float = 20.0
    stale_after: float = 75.0
    drain: float = 4.0
    prune: float = 3600.0
    keep_results: timedelta = timedelta(days=7)
    keep_queued: timedelta = timedelta(days=1)

    @classmethod
    def from_settings(cls) -> WatchdogConfig:
        return cls(stale_after=max(60.0, settings.Q_CLUSTER["timeout"] + 15.0))


class ClusterWatchdog:
    """One per installation. `step(now)` does what is due; times are of the monotonic clock."""

    def __init__(self, config: WatchdogConfig, *, after_fork: Callable[[], None]) -> None:
        self.config = config
        self.cluster: RunningCluster | None = None
        self._after_fork = after_fork
        self._backoff = Backoff()
        self._start_at = 0.0
        self._started_at = 0.0
        self._finished_jobs = 0  # the cluster's counter at the last step
        self._progress_at = 0.0  # when the counter last changed
        self._heartbeat_queued_at = 0.0
        self._heartbeat_stored_at = 0.0
        self._prune_at = 0.0
        self._lost_agents = LostAgentDetector()
        self._pump = Pump()

    def run(self, signals: Signals) -> None:
        try:
            while not signals.stop_requests:
                self.step(time.monotonic())
                signals.wait(self.config.check)
        finally:
            self._stop(signals)

    def step(self, now: float) -> None:
        if self.cluster is None:
            if now >= self._start_at:
                self._start(now)
        elif (code := self.cluster.exit_code) is not None:
            self._replace(self.cluster, now, f"the cluster exited with {describe_exit(code)}")
        else:
            self._check_progress(self.cluster, now)
        if now >= self._prune_at:
            self._prune_at = now + self.config.prune
            self._in_database(self._prune)
        self._check_agents(now)

    def _check_agents(self, now: float) -> None:
        if not self._in_database(partial(self._lost_agents.check, now)):
            self._lost_agents.reset()
        elif self._lost_agents.all_agents_lost(now):
            # Agents start the deliveries that are due. Without one, `agent.lost` would not be delivered.
            self._in_database(lambda: self._pump.check(timezone.now()))

    def _start(self, now: float) -> None:
        # Free the jobs of an earlier cluster only when its last process is gone: otherwise a job could run twice.
        if killed := marker.kill_leftovers():
            log.warning("jobs.leftovers_killed", pids=killed)
        if not self._in_database(self._free_locks):
            self._start_at = now + self._backoff.delay_after_exit(now=now, uptime=0.0)
            return
        log.info("jobs.started")
        self.cluster = RunningCluster(grace_seconds=self.config.drain, after_fork=self._after_fork)
        self._finished_jobs = 0
        self._started_at = self._progress_at = now
        self._heartbeat_queued_at = self._heartbeat_stored_at = now - self.config.heartbeat

    # --- Progress -------------------------------------------------------------------------------------------

    def _check_progress(self, cluster: RunningCluster, now: float) -> None:
        # Any finished job counts, so a cluster with a long queue is not replaced for a late heartbeat job.
        if cluster.finished_jobs != self._finished_jobs:
            self._finished_jobs = cluster.finished_jobs
            self._progress_at = now
            self._store_heartbeat(now)
        if now - self._progress_at >= self.config.stale_after:
            self._replace(cluster, now, f"no job has finished for {now - self._progress_at:.0f} s")
        elif now - self._heartbeat_queued_at >= self.config.heartbeat:
            self._heartbeat_queued_at = now
            if not self._in_database(queue.enqueue_heartbeat):
                self._progress_at = now  # no cluster can make progress without the database

    def _store_heartbeat(self, now: float) -> None:
        if now - self._heartbeat_stored_at >= self.config.heartbeat / 2:
            self._heartbeat_stored_at = now
            self._in_database(
                lambda: Heartbeat.objects.update_or_create(name=JOBS, defaults={"at": timezone.now()})
            )

    # --- Stopping -------------------------------------------------------------------------------------------

    def _replace(self, cluster: RunningCluster, now: float, reason: str) -> None:
        delay = self._backoff.delay_after_exit(now=now, uptime=now - self._started_at)
        log.error("jobs.replaced", reason=reason, starting_again_in=round(delay, 1))
        cluster.kill()
        self.cluster = None
        self._start_at = now + delay
        self._in_database(lambda: audit("jobs", "jobs.replaced", data={"reason": reason}))

    def _stop(self, signals: Signals) -> None:
        """Gives running jobs `drain` seconds to finish; another signal kills them at once."""
        if self.cluster is None:
            return
        requests_before = signals.stop_requests
        deadline = time.monotonic() + self.config.drain
        self.cluster.request_stop()
        while self.cluster.exit_code is None and signals.stop_requests == requests_before:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                log.warning("jobs.killed", hint="the jobs that were running will run again")
                break
            signals.wait(remaining)
        self.cluster.kill()
        self.cluster = None

    # --- The database ---------------------------------------------------------------------------------------

    def _free_locks(self) -> None:
        if freed := queue.free_locks():
            log.info("jobs.requeued", count=freed)

    def _prune(self) -> None:
        now = timezone.now()
        results = queue.prune_results(now - self.config.keep_results)
        queued = queue.prune_queued(now - self.config.keep_queued)
        if results or queued:
            log.info("jobs.pruned", results=results, queued=queued)

    def _in_database(self, action: Callable[[], object]) -> bool:
        """Returns False when the database is unavailable. The watchdog keeps running until it is back."""
        try:
            action()
        except db.Error as error:
            log.warning("jobs.database_unavailable", error=str(error))
            return False
        finally:
            db.close_old_connections()
        return True
