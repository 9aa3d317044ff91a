"""Live status in the program list: statuses of the rows, sorting and filtering by state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db.models import Aggregate, Case, F, Min, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.views import ChangeList

from programs import hosts, status
from programs.models import Host, Process, Program
from programs.payloads import ProgramStatus
from programs.states import ALLOWED_ACTIONS, MOST_URGENT_FIRST, State

from . import extensions

RANKS = {state: rank for rank, state in enumerate(MOST_URGENT_FIRST)}
QUIET_RANK = RANKS[State.STOPPED]  # also for a program without a process row
ABNORMAL = frozenset({State.FATAL, State.BACKOFF, State.EXITED, State.UNKNOWN})
AGENT_LOST = _("the agent of %(host)s sends no heartbeat")
DEFAULT_HOST = _("the default host")
VERB_TABLE = {state.value: sorted(verbs) for state, verbs in ALLOWED_ACTIONS.items()}


class LiveChangeList(ChangeList):
    """Adds `live` to each row and the number of programs in each state: two queries, plus one per added column."""

    state_counts: list[tuple[State, int]]
    has_programs: bool

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        known = {shown["id"]: shown for shown in status.all_programs(status.read_host_state())}
        for program in self.result_list:
            program.live = known.get(program.pk)
        extensions.load(self.result_list)  # here and not in the cells, to avoid a query per row
        self.has_programs = bool(known)
        self.state_counts = count_states(known.values())


def count_states(programs: Iterable[ProgramStatus]) -> list[tuple[State, int]]:
    """Sorted by urgency; includes states with 0 programs."""
    counts = Counter(shown["state"] for shown in programs)
    return [(state, counts[state]) for state in (*MOST_URGENT_FIRST, State.UNKNOWN)]


def needs_reason(shown: ProgramStatus) -> bool:
    return shown["state"] in ABNORMAL or shown["health"] == "unhealthy"


def reason_text(shown: ProgramStatus) -> str:
    """Empty for a program without problems. `static/monitor/live_status.js` must produce the same."""
    if shown["state"] == State.UNKNOWN:
        return AGENT_LOST % {"host": shown["host"] or DEFAULT_HOST}
    return shown["reason"] if needs_reason(shown) else ""


def with_totals(programs: QuerySet[Program]) -> QuerySet[Program]:
    default_heartbeat = Subquery(Host.objects.filter(is_default=True).values("heartbeat_at")[:1])
    ranks = Case(*(When(state=state, then=rank) for state, rank in RANKS.items()), default=QUIET_RANK)
    return programs.select_related("host").annotate(
        heartbeat_at=Case(When(host=None, then=default_heartbeat), default=F("host__heartbeat_at")),
        rank=Coalesce(_over_processes(Min(ranks)), QUIET_RANK),
        cpu_total=Coalesce(_over_processes(Sum("cpu_percent")), 0.0),
        memory_total=Coalesce(_over_processes(Sum("memory_bytes")), 0),
        restarts_total=Coalesce(_over_processes(Sum("restarts")), 0),
        oldest_start=_over_processes(Min("started_at")),
    )


def _over_processes(total: Aggregate) -> Subquery:
    own = Process.objects.filter(program=OuterRef("pk")).order_by()
    return Subquery(own.values("program").annotate(total=total).values("total"))


def in_state(programs: QuerySet[Program], state: State) -> QuerySet[Program]:
    """`programs` must come from `with_totals`."""
    heard_since = timezone.now() - hosts.SILENT_AFTER
    if state is State.UNKNOWN:
        return programs.exclude(Q(heartbeat_at__gt=heard_since))
    return programs.filter(Q(heartbeat_at__gt=heard_since, rank=RANKS[state]))
