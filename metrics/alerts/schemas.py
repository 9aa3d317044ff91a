"""What the routes about alerts take and give, for checking input and for the OpenAPI page."""

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

MOST_NAMES = 1000
MAX_HOURS = 168
Severity = Literal["info", "warning", "error"]
Condition = Literal["above", "below"]
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
IN_ITS_UNIT = "In the unit of the metric: percent of one core, bytes, bytes per second, or a number"

# --- In -------------------------------------------------------------------------------------------------


class RuleChangesIn(Input):
    """Some fields of a rule. What each means: docs/alerts.md."""

    name: Text = ""
    description: Text = ""
    enabled: StrictBool = True
    programs: list[Identifier] = Field([], max_length=MOST_NAMES, description="Ids; with `tags` empty too: all")
    tags: list[Text] = Field([], max_length=MOST_NAMES)
    metric: Metric = "cpu_percent"
    condition: Condition = "above"
    threshold: Whole | Number = Field(0, description=IN_ITS_UNIT)
    clear_threshold: Whole | Number | None = Field(None, description="Over when it is back there; null: threshold")
    window_seconds: Whole = Field(300, description="The average over so long, or the highest")
    severity: Severity = "warning"


class RuleIn(RuleChangesIn):
    """A whole rule: what is left out has its default."""

    name: Text
    metric: Metric
    threshold: Whole | Number = Field(description=IN_ITS_UNIT)


class DraftIn(RuleChangesIn):
    """A rule that need not have a name, as it is only tried."""

    metric: Metric
    threshold: Whole | Number = Field(description=IN_ITS_UNIT)


class BacktestIn(Input):
    rule: Identifier | DraftIn = Field(description="The id of a rule, or a definition that need not be saved")
    hours: Number | Whole | None = Field(None, gt=0, le=MAX_HOURS, description="The last so many; 24 by default")
    start: Timestamp | None = Field(None, description="From this moment on")
    end: Timestamp | None = Field(None, description="Up to this moment; now by default")


class RuleListing(ListQuery):
    enabled: bool | None = Field(None, description="Only those that are switched on, or off")
    metric: Metric | None = Field(None, description="Only rules about this metric")


class AlertListing(ListQuery):
    state: Literal["firing", "resolved"] | None = Field(None, description="Only those that last, or that are over")
    rule: QueryIdentifier | None = Field(None, description="Only alerts of the rule with this id")
    program: QueryIdentifier | None = Field(None, description="Only alerts about the program with this id")
    severity: Severity | None = None
    since: Timestamp | None = Field(None, description="Begun from this moment on")
    until: Timestamp | None = Field(None, description="Begun up to this moment, not including it")
    search: SearchText = Field("", description="Part of the name of the rule or the program, any case")


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
    condition: Condition
    threshold: float
    clear_threshold: float | None
    window_seconds: int
    severity: Severity
    firing: int = Field(description="How many of its alerts last at this moment")
    created_at: str
    revision: int


class Named(Schema):
    """`id` is null for what has been removed."""

    id: int | None
    name: str


class AlertOut(Schema):
    """Levels are those of the rule when it fired; `highest` and `lowest` are values since then."""

    id: int
    rule: Named
    program: Named
    state: Literal["firing", "resolved"]
    severity: Severity
    metric: Metric
    unit: Unit
    condition: Condition
    threshold: float
    window_seconds: int
    value: float
    highest: float
    lowest: float
    started_at: str
    resolved_at: str | None
    reason: Reason | Literal[""]
    seconds: int = Field(description="How long it lasted, or has lasted up to now")


class EpisodeOut(Schema):
    started_at: str
    resolved_at: str | None = Field(description="Null: it would last to the end")
    reason: Literal["recovered", "stopped", ""]
    value: float = Field(description="When it would have fired")
    highest: float
    lowest: float


class ProgramEpisodes(Schema):
    id: int
    name: str
    alerts: list[EpisodeOut]


class BacktestOut(Schema):
    """`step` seconds lie between two looks. `window_seconds` is the rule's, in whole steps."""

    start: str
    end: str
    step: int
    tier: str
    window_seconds: int
    unit: Unit
    judged: int = Field(description="How many programs the rule is about")
    total: int = Field(description="How many alerts there would have been")
    programs: list[ProgramEpisodes] = Field(description="Those of which there would have been any")
    truncated: bool = Field(description="Not all of them are listed")
