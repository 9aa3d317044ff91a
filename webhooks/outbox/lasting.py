"""Conditions that last, such as an alert: what a mute withheld about them follows after it if it still holds.

A withheld delivery carries its subject: the condition and what it is about. The end of a condition whose beginning
was withheld is withheld too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from programs.models import ProgramEvent
from webhooks.models import WebhookDelivery

MAX_SUBJECT = 200
MAX_COMPARED = 100
STARTS_AND_STOPS = (
    "program.started", "program.running", "program.restarted", "program.adopted", "program.stopping",
    "program.stopped", "program.exited", "program.removed",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """`ends`: event types after which it no longer holds. `end_report`: the one of them that reports just that."""

    begin: str
    ends: tuple[str, ...]
    end_report: str = ""


CONDITIONS = (
    Condition("alert.firing", ("alert.resolved",), "alert.resolved"),
    Condition("program.fatal", STARTS_AND_STOPS),
    Condition(
        "program.unhealthy",
        ("program.healthy", "program.crashed", "program.backoff", "program.fatal", *STARTS_AND_STOPS),
        "program.healthy",
    ),
    Condition("agent.lost", ("agent.started",)),
)
BY_TYPE = {
    type_: condition for condition in CONDITIONS for type_ in (condition.begin, condition.end_report) if type_
}


def subject_of(event: ProgramEvent) -> str | None:
    """None if the event neither begins a condition nor reports its end."""
    condition = BY_TYPE.get(event.type)
    return f"{condition.begin} {_about(event)}"[:MAX_SUBJECT] if condition else None


def _about(event: ProgramEvent) -> str:
    area = event.type.partition(".")[0]
    if area == "alert":
        # A rule has one alert of a program at a time; its name is that at the beginning in both events.
        return f"{event.program_id} {event.data.get('rule')}"
    return str(event.data.get("host")) if area == "agent" else f"{event.program_id} {event.process_index}"


def withhold(event: ProgramEvent, endpoint: int) -> str | None:
    """The subject, if the muted event has to follow after the mute unless it is over by then."""
    condition = BY_TYPE.get(event.type)
    if condition is None or (
        event.type == condition.end_report and not _begin_was_sent(event, condition, endpoint)
    ):
        return None
    subject = subject_of(event)
    # Keeps a long mute from piling up what has long been contradicted.
    WebhookDelivery.objects.filter(endpoint=endpoint, withheld=subject).update(withheld=None)
    return subject


def drop_withheld_begin(event: ProgramEvent, endpoint: int) -> bool:
    """Whether the event reports the end of a condition whose beginning was withheld; that is then given up."""
    condition = BY_TYPE.get(event.type)
    if condition is None or event.type != condition.end_report:
        return False
    begun = WebhookDelivery.objects.filter(endpoint=endpoint, withheld=subject_of(event))
    return bool(begun.filter(event__type=condition.begin).update(withheld=None))


def _begin_was_sent(event: ProgramEvent, condition: Condition, endpoint: int) -> bool:
    earlier = _related(event, [condition.begin]).filter(seq__lt=event.seq).order_by("-seq")
    subject = subject_of(event)
    begin = next((each for each in earlier[:MAX_COMPARED] if subject_of(each) == subject), None)
    sent = WebhookDelivery.objects.filter(event=begin, endpoint=endpoint)
    return begin is not None and sent.exclude(state=WebhookDelivery.State.CANCELLED).exists()


def is_over(event: ProgramEvent) -> bool:
    """Whether a later event contradicts this one, or says the same again."""
    condition = BY_TYPE[event.type]
    types = [condition.begin, *condition.ends]
    later = _related(event, types).filter(seq__gt=event.seq)
    if event.type.startswith("program."):
        # Events of the program as a whole have no index.
        same_process = Q(process_index=event.process_index) | Q(process_index=None)
        return event.program_id is None or later.filter(same_process).exists()
    return any(_about(each) == _about(event) for each in later)


def _related(event: ProgramEvent, types: Iterable[str]) -> QuerySet[ProgramEvent]:
    return ProgramEvent.objects.filter(type__in=types, program=event.program_id)
