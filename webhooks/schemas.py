"""What the routes about webhooks take and give, for checking input and for the OpenAPI page."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Field, Schema
from pydantic import JsonValue

from core.rest.inputs import (
    Identifier,
    Input,
    Number,
    QueryIdentifier,
    SearchText,
    StrictBool,
    Text,
    Timestamp,
    Whole,
)
from core.rest.lists import ListQuery
from programs.schemas import EventOut, KeptValue

from .defaults import RETRY_SCHEDULE
from .models import WebhookDelivery

Severity = Literal["info", "warning", "error"]
Seconds = Whole | Number
LONGEST_URL = 4096
MOST_NAMES = 1000

# --- In -------------------------------------------------------------------------------------------------


class WebhookChangesIn(Input):
    """Some fields of an endpoint. What each means: docs/webhooks.md."""

    name: Text = ""
    url: Text | KeptValue = Field("", description='In full, or as it was shown (or {"set": true}) to keep it')
    format: Text = "standard"
    settings: dict[str, JsonValue] = Field({}, description="As the format's schema says, see /webhooks/formats")
    events: list[Text] = Field(["program.*"], max_length=MOST_NAMES)
    programs: list[Identifier] = Field([], max_length=MOST_NAMES)
    tags: list[Text] = Field([], max_length=MOST_NAMES)
    min_severity: Severity = "info"
    conditions: dict[str, JsonValue] = {}
    enabled: StrictBool = True
    retry_schedule: list[Seconds] = Field(list(RETRY_SCHEDULE), max_length=MOST_NAMES)
    timeout_seconds: Number = 15
    max_concurrency: Whole = 4
    rate_per_second: Number = 10
    bundle_seconds: Number = 0
    max_age_seconds: Whole | None = None
    verify_tls: StrictBool = True
    ca_certificates: Text = ""
    secret: KeptValue | None = Field(None, description="May be given back as it was shown; rotate it to change it")
    resume: StrictBool | None = Field(
        None, description="Must be said when switching on what has pending deliveries: send them, or cancel them"
    )


class WebhookIn(WebhookChangesIn):
    """A whole endpoint: what is left out has its default."""

    name: Text
    url: Text | KeptValue


class SinceIn(Input):
    since: Timestamp
    dry_run: StrictBool = Field(False, description="Only count them")


class EventIn(Input):
    event: Text | None = Field(None, description="The id of the event to tell of; the last one by default")


class PreviewIn(EventIn):
    """Values that need not be saved."""

    format: Text = "standard"
    url: Text | KeptValue = ""
    settings: dict[str, JsonValue] = {}
    webhook: Identifier | None = Field(None, description="Whose stored address and secrets stand for those kept")


class MuteChangesIn(Input):
    """Silence of an endpoint (null: all) about a program (null: all), once or after every moment of `cron`."""

    webhook: Identifier | None = None
    program: Identifier | None = None
    starts_at: Timestamp | None = Field(None, description="Now by default")
    ends_at: Timestamp | None = Field(None, description="Null: until it is lifted")
    cron: Text = Field("", description="By the clock of this machine; empty: all the time from start to end")
    cron_seconds: Whole = Field(3600, description="How long each window of `cron` lasts")
    reason: Text = ""
    everything: StrictBool = Field(
        False, description="Must be said when neither webhook, program, ends_at nor cron bounds the silence"
    )


class WebhookListing(ListQuery):
    format: SearchText = Field("", description="Only endpoints of this format")
    enabled: bool | None = Field(None, description="Only those that are switched on, or off")


class DeliveryListing(ListQuery):
    state: str = Field("", max_length=200, description=f"{', '.join(WebhookDelivery.State.values)}; with commas")
    type: str = Field("", max_length=500, description="Types of event with commas; `program.*` for a whole area")
    program: QueryIdentifier | None = Field(None, description="Only events of the program with this id")
    since: Timestamp | None = Field(None, description="Made from this moment on")
    until: Timestamp | None = Field(None, description="Made up to this moment, not including it")


class AllDeliveriesListing(DeliveryListing):
    webhook: QueryIdentifier | None = Field(None, description="Only deliveries to the endpoint with this id")


class MuteListing(ListQuery):
    current: bool | None = Field(None, description="Only those whose time is not over, or only those of the past")


class Wait(Schema):
    wait: float = Field(16, ge=0, le=60, allow_inf_nan=False, description="Seconds to wait for the result")


# --- Out ------------------------------------------------------------------------------------------------


class IsSet(Schema):
    set: Literal[True]


class WebhookOut(Schema):
    """An endpoint and how it does in a word. Secrets are not in it, and the address is shown in part."""

    id: int
    name: str
    url: str
    format: str
    settings: dict[str, Any]
    events: list[str]
    programs: list[int]
    tags: list[str]
    min_severity: str
    conditions: dict[str, Any]
    enabled: bool
    retry_schedule: list[int | float]
    timeout_seconds: float
    max_concurrency: int
    rate_per_second: float
    bundle_seconds: float
    max_age_seconds: int | None
    verify_tls: bool
    ca_certificates: str
    secret: IsSet | None
    old_secret_until: str | None
    condition: Literal["off", "idle", "ok", "waiting", "failing", "open"]
    disabled_reason: str
    last_error: str
    last_success_at: str | None
    failing_since: str | None
    created_at: str
    enabled_at: str
    revision: int


class SavedOut(WebhookOut):
    secret: str | IsSet | None = Field(description="In clear when it has just been made, and never again")  # type: ignore[assignment]  # wider this once


class SecretOut(Schema):
    secret: str = Field(description="Shown this once")
    old_secret_until: str = Field(description="Up to then messages are signed with the old one too")


class FormatOut(Schema):
    kind: str
    label: str
    url_hint: str
    is_chat: bool = Field(description="Read by people: late messages expire, and many can be bundled")
    is_signed: bool
    settings: dict[str, Any] = Field(description="JSON Schema; secret settings have `writeOnly`")


class FormatsOut(Schema):
    items: list[FormatOut]


class NamedWebhook(Schema):
    id: int
    name: str


class AttemptOut(Schema):
    number: int
    trigger: Literal["event", "retry", "manual", "test"]
    started_at: str
    duration_ms: int | None
    status: int | None
    error_class: str
    error: str
    response: str = Field(description="The beginning of the answer")
    peer: str = Field(description="The address that was dialled")


class DeliveryOut(Schema):
    id: str
    webhook: NamedWebhook
    event: EventOut
    state: Literal["pending", "delivered", "failed", "exhausted", "cancelled", "blocked", "expired", "dead"]
    reason: str
    created_at: str
    finished_at: str | None
    next_attempt_at: str | None
    sending: bool = Field(description="Under way at this moment")
    attempt_count: int
    attempts: list[AttemptOut]


class OutcomeOut(Schema):
    detail: str = Field(description="What came of it, or what holds it up, in a sentence")
    delivery: DeliveryOut


class CountOut(Schema):
    count: int
    dry_run: bool


class MuteOut(Schema):
    id: int
    webhook: int | None
    program: int | None
    starts_at: str
    ends_at: str | None
    cron: str
    cron_seconds: int
    reason: str
    actor: str
    active: bool = Field(description="It silences at this moment")


class HourOut(Schema):
    """Deliveries of the events of one hour, by what has become of them."""

    start: str
    delivered: int
    failed: int
    pending: int
    cancelled: int


class PercentileOut(Schema):
    p95: int | None


class CircuitOut(Schema):
    state: Literal["open", "closed"]
    connect_failures: int
    paused_until: str | None


class HealthOut(Schema):
    condition: Literal["off", "idle", "ok", "waiting", "failing", "open"]
    hours: int
    counts: dict[str, int] = Field(description="By state; pending: all of them, the others: of these hours")
    success_ratio: float | None
    duration_ms: PercentileOut
    oldest_pending_seconds: float | None
    last_success_at: str | None
    failing_since: str | None
    last_error: str
    disabled_reason: str
    circuit: CircuitOut
    strip: list[HourOut]


class RequestOut(Schema):
    method: str
    url: str
    headers: dict[str, str]
    body: str


class ToldEvent(Schema):
    id: str
    type: str


class PreviewOut(Schema):
    event: ToldEvent
    sample: bool = Field(description="There was no event to tell of, so one was made up")
    signed: bool = Field(description="The headers of Standard Webhooks come on top when it is sent")
    request: RequestOut
