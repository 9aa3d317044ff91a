"""The kinds of value that requests carry. JSON is taken at its word: "5" is no number, 1 is not true."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict

from core.timeformat import in_utc


class Input(Schema):
    """A request body. Fields it does not name are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not hold NUL characters")
    return value


def _plus_restored(value: Any) -> Any:
    """`+00:00` arrives as ` 00:00` when a client forgets to encode it."""
    return re.sub(r" (\d\d:?\d\d)$", r"+\1", value) if isinstance(value, str) else value


def _in_utc(value: datetime) -> datetime:
    try:
        return in_utc(value)
    except OverflowError:
        raise ValueError("is beyond the calendar") from None


Text = Annotated[str, Strict(), AfterValidator(_no_nul)]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Identifier = Annotated[int, Strict(), Field(ge=1, le=2**63 - 1)]
# In a query everything is text.
QueryIdentifier = Annotated[int, Field(ge=1, le=2**63 - 1)]
# ISO 8601, UTC unless it says otherwise; or Unix seconds.
Moment = Annotated[datetime, BeforeValidator(_plus_restored), AfterValidator(_in_utc)]
SearchText = Annotated[str, AfterValidator(_no_nul), Field(max_length=200)]
