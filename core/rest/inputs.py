"""Types of request values. JSON types are strict: "5" is not a number and 1 is not a boolean."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict

from core.timeformat import in_utc


class Input(Schema):
    """Base of request bodies; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain NUL characters")
    return value


def _restore_plus(value: Any) -> Any:
    # `+00:00` arrives as ` 00:00` when a client does not percent-encode it.
    return re.sub(r" (\d\d:?\d\d)$", r"+\1", value) if isinstance(value, str) else value


def _in_utc(value: datetime) -> datetime:
    try:
        return in_utc(value)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999") from None


Text = Annotated[str, Strict(), AfterValidator(_no_nul)]
StrictBool = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Identifier = Annotated[int, Strict(), Field(ge=1, le=2**63 - 1)]
# Not strict, because query parameters arrive as text.
QueryIdentifier = Annotated[int, Field(ge=1, le=2**63 - 1)]
# ISO 8601, as UTC without an offset, or Unix seconds.
Timestamp = Annotated[datetime, BeforeValidator(_restore_plus), AfterValidator(_in_utc)]
SearchText = Annotated[str, AfterValidator(_no_nul), Field(max_length=200)]
