"""What the routes about history take and give, for checking input and for the OpenAPI page."""

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


class Window(Schema):
    """The last `hours`, or from `start` to `end`; either may be left out."""

    hours: float | None = Field(None, gt=0, le=MAX_HOURS, description="The last so many hours; 24 by default")
    start: Timestamp | None = Field(None, description="From this moment on")
    end: Timestamp | None = Field(None, description="Up to this moment; now by default")

    def span(self, now: int) -> tuple[int, int]:
        """Unix seconds. Raises ValidationError."""
        if self.hours is not None and self.start is not None:
            raise ValidationError({"hours": "Goes without start."})
        end = now if self.end is None else int(self.end.timestamp())
        if self.start is not None:
            return int(self.start.timestamp()), end
        return end - max(1, round((self.hours or DEFAULT_HOURS) * 3600)), end


class Chart(Window):
    step: str = Field("auto", pattern=STEP, description="Seconds from point to point")
    metrics: str = Field("", max_length=500, description="With commas between: cpu_percent,memory_bytes")
    aggregates: str = Field("avg", max_length=200, description="With commas between: avg,min,max,p95,last")
    compare: Literal["previous"] | None = Field(None, description="Also the same length of time just before")

    @property
    def step_seconds(self) -> int | None:
        return None if self.step == "auto" else int(self.step)


class ManyPrograms(Schema):
    programs: str = Field("all", max_length=20_000, description="Ids with commas between, or all")

    @property
    def ids(self) -> list[int] | None:
        """None for all. Raises ValidationError."""
        if self.programs.strip() == "all":
            return None
        found = [word.strip() for word in self.programs.split(",") if word.strip()]
        if wrong := [word for word in found if not _is_id(word)]:
            raise ValidationError({"programs": f"{wrong[0]} is no id; give numbers with commas between, or all."})
        if len(found) > MAX_PROGRAMS:
            raise ValidationError({"programs": f"At most {MAX_PROGRAMS} at once."})
        if not found:
            raise ValidationError({"programs": "Give ids with commas between, or all."})
        return sorted(set(map(int, found)))


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 20 and 0 < int(word) <= SQLITE_INTEGER


class ChartOfMany(Chart, ManyPrograms):
    pass


class ChartOfHost(Chart):
    host: Text = Field("", max_length=100, description="Its name; the default host without it")


class LiveChart(Schema):
    """The query of a socket that goes on with a chart."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    hours: float = Field(1, gt=0, le=MAX_LIVE_HOURS, description="How far back the chart reaches")
    step: str = Field("auto", pattern=STEP)
    metrics: str = Field("", max_length=500)
    aggregates: str = Field("avg,min,max", max_length=200)
    since: Timestamp | None = Field(None, description="The newest point that is known already")

    @property
    def step_seconds(self) -> int | None:
        return None if self.step == "auto" else int(self.step)


class LiveChartOfHost(LiveChart):
    host: Text = Field("", max_length=100)


class SummaryQuery(Window, ManyPrograms):
    ordering: str = Field("-cpu_percent.avg", description=f"One of {', '.join(ORDERS)}; a minus for descending")
    limit: int = Field(100, ge=1, le=MAX_PROGRAMS)
    compare: Literal["previous"] | None = Field(None, description="Also the same length of time just before")

    @property
    def order(self) -> str:
        """Raises ValidationError."""
        if self.ordering.removeprefix("-") not in ORDERS:
            message = f"Cannot sort by {self.ordering}; known: {', '.join(ORDERS)}."
            raise ValidationError({"ordering": message})
        return self.ordering


class ExportQuery(Window, ManyPrograms):
    format: str = Field("jsonl", description=f"One of {', '.join(FORMATS)}")
    tier: str = Field("minute", description=f"One of {', '.join(BY_NAME)}; several with commas between, or all")


# --- Out ------------------------------------------------------------------------------------------------


class Previous(Schema):
    """The time before. Add `offset` seconds to its times to lay it over the present one."""

    offset: int
    series: Points


class SeriesOut(Schema):
    """`series`: metric → aggregate → [[Unix seconds, value], …]. `tier` is the coarsest that was read."""

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
    """Programs without a point in that time are left out; `offset` as in the comparison of one."""

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
    """`start` may lie up to a twentieth of the window before what was asked for."""

    start: str
    end: str
    items: list[SummaryItem]


def words(text: str) -> list[str]:
    return list(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))
