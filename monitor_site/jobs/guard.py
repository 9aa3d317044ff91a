"""Keeps a cluster working. That its processes live proves nothing: only a job that was done does."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import structlog
from django import db
from django.utils import timezone

from core.access.audit import audit
from core.models import Heartbeat
from monitor_site.serving.backoff import Backoff
from monitor_site.serving.children import how_it_ended
from monitor_site.serving.signals import Signals
from webhooks.delivery.pump import Pump

from . import marker, queue
from .agent_watch import AgentWatch
from .cluster import RunningCluster
from .config import GuardConfig

log = structlog.get_logger(__name__)
HEARTBEAT = "jobs"


class Guard:
    """One per installation. `step(now)` does what is due; times are of the monotonic clock."""

    def __init__(self, config: GuardConfig, *, after_fork: Callable[[], None]) -> None:
        self.config = config
        self.cluster: RunningCluster | None = None
        self._after_fork = after_fork
        self._backoff = Backoff()
        self._start_at = 0.0
        self._started_at = 0.0
        self._finished = 0  # what the cluster's counter showed last
        self._proved_at = 0.0  # when it was last seen to move
        self._asked_at = 0.0
        self._noted_at = 0.0
        self._prune_at = 0.0
        self._watch = AgentWatch()
        self._pump = Pump()

    def run(self, signals: Signals) -> None:
        """Returns after a signal to stop, with nothing left running."""
        try:
            while not signals.stops_asked:
                self.step(time.monotonic())
                signals.wait(self.config.look)
        finally:
            self._stop(signals)

    def step(self, now: float) -> None:
        if self.cluster is None:
            if now >= self._start_at:
                self._start(now)
        elif (code := self.cluster.exit_code) is not None:
            self._replace(self.cluster, now, f"the cluster ended by itself: {how_it_ended(code)}")
        else:
            self._look_for_proof(self.cluster, now)
        if now >= self._prune_at:
            self._prune_at = now + self.config.prune
            self._in_database(self._prune)
        self._watch_agents(now)

    def _watch_agents(self, now: float) -> None:
        """While no agent is heard, what agents do for the outbox is done here: the news must get out."""
        if not self._in_database(partial(self._watch.look, now)):
            self._watch.forget()
        elif self._watch.is_alone(now):
            self._in_database(lambda: self._pump.check(timezone.now()))

    def _start(self, now: float) -> None:
        """Only when the last of an earlier cluster is gone may what it had fetched be handed out again."""
        if ended := marker.end_leftovers():
            log.warning("jobs.leftovers_ended", pids=ended)
        if not self._in_database(self._free_locks):
            self._start_at = now + self._backoff.after_death(now=now, uptime=0.0)
            return
        log.info("jobs.started")
        self.cluster = RunningCluster(grace_seconds=self.config.drain, after_fork=self._after_fork)
        self._finished = 0
        self._started_at = self._proved_at = now
        self._asked_at = self._noted_at = now - self.config.beat

    # --- Proof of life --------------------------------------------------------------------------------------

    def _look_for_proof(self, cluster: RunningCluster, now: float) -> None:
        """Any finished job is proof, so a cluster that is busy with a long queue is left in peace."""
        if cluster.finished != self._finished:
            self._finished = cluster.finished
            self._proved_at = now
            self._note_proof(now)
        if now - self._proved_at >= self.config.stale:
            self._replace(cluster, now, f"no job was finished for {now - self._proved_at:.0f} s")
        elif now - self._asked_at >= self.config.beat:
            self._asked_at = now
            if not self._in_database(queue.ask_for_sign):
                self._proved_at = now  # without a database no cluster could prove anything

    def _note_proof(self, now: float) -> None:
        if now - self._noted_at >= self.config.beat / 2:
            self._noted_at = now
            self._in_database(
                lambda: Heartbeat.objects.update_or_create(name=HEARTBEAT, defaults={"at": timezone.now()})
            )

    # --- Ending ---------------------------------------------------------------------------------------------

    def _replace(self, cluster: RunningCluster, now: float, reason: str) -> None:
        delay = self._backoff.after_death(now=now, uptime=now - self._started_at)
        log.error("jobs.replaced", reason=reason, starting_again_in=round(delay, 1))
        cluster.end()
        self.cluster = None
        self._start_at = now + delay
        self._in_database(lambda: audit("jobs", "jobs.replaced", data={"reason": reason}))

    def _stop(self, signals: Signals) -> None:
        """Lets running jobs finish for a while; a further signal ends them at once."""
        if self.cluster is None:
            return
        asked_before = signals.stops_asked
        until = time.monotonic() + self.config.drain
        self.cluster.ask_to_stop()
        while self.cluster.exit_code is None and signals.stops_asked == asked_before:
            left = until - time.monotonic()
            if left <= 0:
                log.warning("jobs.cut_off", hint="jobs that were running will be run again")
                break
            signals.wait(left)
        self.cluster.end()
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
        """Whether it worked. Jobs stand still while the database is away; the guard outlasts that."""
        try:
            action()
        except db.Error as error:
            log.warning("jobs.no_database", error=str(error))
            return False
        finally:
            db.close_old_connections()
        return True
