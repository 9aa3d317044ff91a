"""Request and response schemas of the `/metrics/alerts` routes."""

from __future__ import annotations

from typing import Literal

from ninja import Field, Schema

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

MAX_NAMES = 1000
MAX_HOURS = 168
Severity = Literal["info", "warning", "error"]
Comparison = Literal["above", "below"]
Metric = Literal[
    "cpu_percent",
    "memory_bytes",
    "threads",
    "open_files",
    "read_bytes_per_second",
    "write_bytes_per_second",
]
Unit = Literal["percent", "bytes", "bytes_per_second", "count"]
Reason = Literal["recovered", "stopped", "rule_changed", "rule_removed", "program_removed"]
UNIT_HELP = "In the unit of the metric: percent of one core, bytes, bytes per second, or a number"

# --- In -------------------------------------------------------------------------------------------------


class RuleChangesIn(Input):
    """Some fields of a rule; docs/alerts.md explains them."""

    name: Text = ""
    description: Text = ""
    enabled: StrictBool = True
    programs: list[Identifier] = Field(
        [], max_length=MAX_NAMES, description="Program ids; all programs if `tags` is empty too"
    )
    tags: list[Text] = Field([], max_length=MAX_NAMES)
    metric: Metric = "cpu_percent"
    condition: Comparison = "above"
    threshold: Whole | Number = Field(0, description=UNIT_HELP)
    clear_threshold: Whole | Number | None = Field(None, description="Resolves at this value; null: the threshold")
    window_seconds: Whole = Field(300, description="Window of the average (or maximum)")
    severity: Severity = "warning"


class RuleIn(RuleChangesIn):
    """A whole rule. Omitted fields get their defaults."""

    name: Text
    metric: Metric
    threshold: Whole | Number = Field(description=UNIT_HELP)


class DraftIn(RuleChangesIn):
    """A rule for a backtest; its name may be empty."""

    metric: Metric
    threshold: Whole | Number = Field(description=UNIT_HELP)


class BacktestIn(Input):
    rule: Identifier | DraftIn = Field(description="The id of a rule, or an unsaved definition")
    hours: Number | Whole | None = Field(
        None, gt=0, le=MAX_HOURS, description="Number of hours up to `end`; default 24"
    )
    start: Timestamp | None = Field(None, description="Start of the time range")
    end: Timestamp | None = Field(None, description="End of the time range; default now")


class RuleListing(ListQuery):
    enabled: bool | None = Field(None, description="Only enabled (true) or disabled (false) rules")
    metric: Metric | None = Field(None, description="Only rules for this metric")


class AlertListing(ListQuery):
    state: Literal["firing", "resolved"] | None = Field(None, description="Only firing or only resolved alerts")
    rule: QueryIdentifier | None = Field(None, description="Only alerts of the rule with this id")
    program: QueryIdentifier | None = Field(None, description="Only alerts of the program with this id")
    severity: Severity | None = None
    since: Timestamp | None = Field(None, description="Started at or after this time")
    until: Timestamp | None = Field(None, description="Started before this time")
    search: SearchText = Field("", description="Part of the rule or program name, case-insensitive")


# --- Out ------------------------------------------------------------------------------------------------


class RuleOut(Schema):
    id: int
    name: str
    description: str
    enabled: bool
    programs: list[int]
    tags: list[str]
    metric: Metric
    unit: Unit
    condition: Comparison
    threshold: float
    clear_threshold: float | None
    window_seconds: int
    severity: Severity
    firing: int = Field(description="Number of firing alerts")
    created_at: str
    revision: int


class Named(Schema):
    """`id` is null if the object was removed."""

    id: int | None
    name: str


class AlertOut(Schema):
    """Thresholds are those of the rule when it fired; `highest` and `lowest` are since then."""

    id: int
    rule: Named
    program: Named
    state: Literal["firing", "resolved"]
    severity: Severity
    metric: Metric
    unit: Unit
    condition: Comparison
    threshold: float
    window_seconds: int
    value: float
    highest: float
    lowest: float
    started_at: str
    resolved_at: str | None
    reason: Reason | Literal[""]
    seconds: int = Field(description="Duration, up to now if it is firing")


class EpisodeOut(Schema):
    started_at: str
    resolved_at: str | None = Field(description="Null if it is still firing at the end")
    reason: Literal["recovered", "stopped", ""]
    value: float = Field(description="Value when it would have fired")
    highest: float
    lowest: float


class ProgramEpisodes(Schema):
    id: int
    name: str
    alerts: list[EpisodeOut]


class BacktestOut(Schema):
    """`step` is the evaluation interval in seconds. `window_seconds` is the rule's, in whole steps."""

    start: str
    end: str
    step: int
    tier: str
    window_seconds: int
    unit: Unit
    judged: int = Field(description="Number of evaluated programs")
    total: int = Field(description="Number of alerts")
    programs: list[ProgramEpisodes] = Field(description="Programs with at least one alert")
    truncated: bool = Field(description="Whether some alerts are not listed")
