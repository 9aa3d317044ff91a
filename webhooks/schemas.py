"""Request and response schemas of the webhook routes."""

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

from .models import DEFAULT_RETRY_SCHEDULE, WebhookDelivery

Severity = Literal["info", "warning", "error"]
Seconds = Whole | Number
MAX_URL_LENGTH = 4096
MAX_NAMES = 1000

# --- In -------------------------------------------------------------------------------------------------


class WebhookChangesIn(Input):
    """Some fields of an endpoint; see docs/webhooks.md."""

    name: Text = ""
    url: Text | KeptValue = Field(
        "", description='The full URL; the masked URL or {"set": true} keeps the stored one'
    )
    format: Text = "standard"
    settings: dict[str, JsonValue] = Field(
        {}, description="Settings of the format; for their schema see /webhooks/formats"
    )
    events: list[Text] = Field(["program.*"], max_length=MAX_NAMES)
    programs: list[Identifier] = Field([], max_length=MAX_NAMES)
    tags: list[Text] = Field([], max_length=MAX_NAMES)
    min_severity: Severity = "info"
    conditions: dict[str, JsonValue] = {}
    enabled: StrictBool = True
    retry_schedule: list[Seconds] = Field(list(DEFAULT_RETRY_SCHEDULE), max_length=MAX_NAMES)
    timeout_seconds: Number = 15
    max_concurrency: Whole = 4
    rate_per_second: Number = 10
    bundle_seconds: Number = 0
    max_age_seconds: Whole | None = None
    verify_tls: StrictBool = True
    ca_certificates: Text = ""
    secret: KeptValue | None = Field(
        None, description="Ignored: accepts the value that was returned. Rotate the secret to change it"
    )
    resume: StrictBool | None = Field(
        None,
        description="Required to enable an endpoint with pending deliveries: true sends them, false cancels them",
    )


class WebhookIn(WebhookChangesIn):
    """A whole endpoint. Omitted fields have their default."""

    name: Text
    url: Text | KeptValue


class SinceIn(Input):
    since: Timestamp
    dry_run: StrictBool = Field(False, description="Only count the deliveries")


class EventIn(Input):
    event: Text | None = Field(None, description="Id of the event to show; by default the last event")


class PreviewIn(EventIn):
    """Values of an endpoint that need not be saved."""

    format: Text = "standard"
    url: Text | KeptValue = ""
    settings: dict[str, JsonValue] = {}
    webhook: Identifier | None = Field(
        None, description='Endpoint whose stored URL and secrets are used where {"set": true} is given'
    )


class MuteChangesIn(Input):
    """Mutes an endpoint (null: all) for a program (null: all), once or in recurring windows (`cron`)."""

    webhook: Identifier | None = None
    program: Identifier | None = None
    starts_at: Timestamp | None = Field(None, description="Default: now")
    ends_at: Timestamp | None = Field(None, description="Null: until the mute is removed")
    cron: Text = Field(
        "", description="Start of each maintenance window, in local time of the server; empty: no windows"
    )
    cron_seconds: Whole = Field(3600, description="Length of each window")
    reason: Text = ""
    everything: StrictBool = Field(
        False, description="Required if none of webhook, program, ends_at and cron limits the mute"
    )


class WebhookListing(ListQuery):
    format: SearchText = Field("", description="Only endpoints with this format")
    enabled: bool | None = Field(None, description="Only enabled or only disabled endpoints")


class DeliveryListing(ListQuery):
    state: str = Field(
        "", max_length=200, description=f"Comma-separated: {', '.join(WebhookDelivery.State.values)}"
    )
    type: str = Field("", max_length=500, description="Comma-separated event types; `program.*` for a whole area")
    program: QueryIdentifier | None = Field(None, description="Only events of the program with this id")
    since: Timestamp | None = Field(None, description="Created at or after this time")
    until: Timestamp | None = Field(None, description="Created before this time")


class AllDeliveriesListing(DeliveryListing):
    webhook: QueryIdentifier | None = Field(None, description="Only deliveries to the endpoint with this id")


class MuteListing(ListQuery):
    current: bool | None = Field(None, description="true: mutes that have not ended; false: only ended ones")


class Wait(Schema):
    wait: float = Field(16, ge=0, le=60, allow_inf_nan=False, description="Seconds to wait for the result")


# --- Out ------------------------------------------------------------------------------------------------


class IsSet(Schema):
    set: Literal[True]


class WebhookOut(Schema):
    """An endpoint with its condition. Secrets are not included, and the URL is masked."""

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
    secret: str | IsSet | None = Field(description="In clear only in the response that creates it")  # type: ignore[assignment]  # wider than the parent


class SecretOut(Schema):
    secret: str = Field(description="Shown only once")
    old_secret_until: str = Field(description="Until then messages are signed with the old secret too")


class FormatOut(Schema):
    kind: str
    label: str
    url_hint: str
    is_chat: bool = Field(description="Read by people: late messages expire, and events can be bundled")
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
    response: str = Field(description="The first 4 KiB of the response")
    peer: str = Field(description="IP address of the receiver")


class DeliveryOut(Schema):
    id: str
    webhook: NamedWebhook
    event: EventOut
    state: Literal["pending", "delivered", "failed", "exhausted", "cancelled", "blocked", "expired", "dead"]
    reason: str
    created_at: str
    finished_at: str | None
    next_attempt_at: str | None
    sending: bool = Field(description="Being sent right now")
    attempt_count: int
    attempts: list[AttemptOut]


class OutcomeOut(Schema):
    detail: str = Field(description="The result, or why it was not sent yet, in a sentence")
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
    active: bool = Field(description="Whether it mutes deliveries right now")


class HourOut(Schema):
    """Deliveries created in one hour, by their present state."""

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
    counts: dict[str, int] = Field(
        description="By state. pending: all of them; the others: of the last `hours` hours"
    )
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


class PreviewEvent(Schema):
    id: str
    type: str


class PreviewOut(Schema):
    event: PreviewEvent
    sample: bool = Field(description="There is no event yet, so a sample is shown")
    signed: bool = Field(description="Standard Webhooks headers are added when it is sent")
    request: RequestOut
