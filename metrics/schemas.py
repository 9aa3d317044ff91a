"""Request and response schemas of the `/metrics` routes."""

from __future__ import annotations

from typing import Any, Literal

from django.core.exceptions import ValidationError
from ninja import Field, Schema
from pydantic import ConfigDict

from core.rest.inputs import Text, Timestamp

from .queries.summary import ORDERS
from .storage.export import FORMATS
from .storage.tiers import BY_NAME

MAX_HOURS = 168
DEFAULT_HOURS = 24
MAX_LIVE_HOURS = 31 * 24
STEP = r"^(auto|[1-9][0-9]{0,7})$"
MAX_PROGRAMS = 1000
SQLITE_INTEGER = 2**63 - 1

Points = dict[str, dict[str, list[tuple[float, float]]]]


# --- In -------------------------------------------------------------------------------------------------


class TimeRangeQuery(Schema):
    """The last `hours`, or `start` to `end`."""

    hours: float | None = Field(None, gt=0, le=MAX_HOURS, description="Number of hours up to `end`; default 24")
    start: Timestamp | None = Field(None, description="Start of the time range")
    end: Timestamp | None = Field(None, description="End of the time range; default now")

    def unix_range(self, now: int) -> tuple[int, int]:
        """(start, end) in Unix seconds. Raises ValidationError."""
        if self.hours is not None and self.start is not None:
            raise ValidationError({"hours": "Cannot be combined with start."})
        end = now if self.end is None else int(self.end.timestamp())
        if self.start is not None:
            return int(self.start.timestamp()), end
        return end - max(1, round((self.hours or DEFAULT_HOURS) * 3600)), end


class SeriesQuery(TimeRangeQuery):
    step: str = Field("auto", pattern=STEP, description="Seconds between points, or auto")
    metrics: str = Field("", max_length=500, description="Comma-separated, such as cpu_percent,memory_bytes")
    aggregates: str = Field("avg", max_length=200, description="Comma-separated: avg,min,max,last,p50,p95,p99")
    compare: Literal["previous"] | None = Field(
        None, description="Also return the preceding time of the same length"
    )

    @property
    def step_seconds(self) -> int | None:
        return None if self.step == "auto" else int(self.step)


class ProgramIdsQuery(Schema):
    programs: str = Field("all", max_length=20_000, description="Comma-separated ids, or all")

    @property
    def ids(self) -> list[int] | None:
        """None for all. Raises ValidationError."""
        if self.programs.strip() == "all":
            return None
        found = [word.strip() for word in self.programs.split(",") if word.strip()]
        if wrong := [word for word in found if not _is_id(word)]:
            raise ValidationError({"programs": f"{wrong[0]} is not an id. Use comma-separated ids, or all."})
        if len(found) > MAX_PROGRAMS:
            raise ValidationError({"programs": f"At most {MAX_PROGRAMS} programs."})
        if not found:
            raise ValidationError({"programs": "Use comma-separated ids, or all."})
        return sorted(set(map(int, found)))


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 20 and 0 < int(word) <= SQLITE_INTEGER


class MultiSeriesQuery(SeriesQuery, ProgramIdsQuery):
    pass


class HostSeriesQuery(SeriesQuery):
    host: Text = Field("", max_length=100, description="Name of the host; default: the default host")


class LiveSeriesQuery(Schema):
    """Query parameters of the chart websockets."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    hours: float = Field(1, gt=0, le=MAX_LIVE_HOURS, description="Length of the chart")
    step: str = Field("auto", pattern=STEP)
    metrics: str = Field("", max_length=500)
    aggregates: str = Field("avg,min,max", max_length=200)
    since: Timestamp | None = Field(None, description="Timestamp of the newest point that the client has")

    @property
    def step_seconds(self) -> int | None:
        return None if self.step == "auto" else int(self.step)


class LiveHostSeriesQuery(LiveSeriesQuery):
    host: Text = Field("", max_length=100)


class SummaryQuery(TimeRangeQuery, ProgramIdsQuery):
    ordering: str = Field(
        "-cpu_percent.avg", description=f"One of {', '.join(ORDERS)}; with a leading minus for descending"
    )
    limit: int = Field(100, ge=1, le=MAX_PROGRAMS)
    compare: Literal["previous"] | None = Field(
        None, description="Also return the preceding time of the same length"
    )

    @property
    def order(self) -> str:
        """Raises ValidationError."""
        if self.ordering.removeprefix("-") not in ORDERS:
            message = f"Cannot sort by {self.ordering}. Use {', '.join(ORDERS)}."
            raise ValidationError({"ordering": message})
        return self.ordering


class ExportQuery(TimeRangeQuery, ProgramIdsQuery):
    format: str = Field("jsonl", description=f"One of {', '.join(FORMATS)}")
    tier: str = Field("minute", description=f"One of {', '.join(BY_NAME)}; comma-separated, or all")


# --- Out ------------------------------------------------------------------------------------------------


class Previous(Schema):
    """The preceding time. Add `offset` seconds to its timestamps to overlay it."""

    offset: int
    series: Points


class SeriesOut(Schema):
    """`series`: metric → aggregate → [[Unix seconds, value], …]. `tier` is the coarsest tier that was read."""

    step: int
    tier: str
    series: Points
    previous: Previous | None = None


class ProgramSeries(Schema):
    id: int
    name: str
    series: Points
    previous: Points | None = None


class ManySeriesOut(Schema):
    """Programs without points are left out. `offset`: see `Previous`."""

    step: int
    tier: str
    offset: int | None = None
    programs: list[ProgramSeries]


class FiguresOut(Schema):
    avg: float | None
    max: float | None
    p95: float | None


class SummaryItem(Schema):
    id: int
    name: str
    cpu_percent: FiguresOut
    memory_bytes: FiguresOut
    uptime_ratio: float
    restarts: int
    previous: dict[str, Any] | None = None


class SummaryOut(Schema):
    """`start` may be up to 5 % of the window earlier than requested."""

    start: str
    end: str
    items: list[SummaryItem]


def split_list(text: str) -> list[str]:
    return list(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))
