"""What happened, in words a person understands. Pure: from codes, types and data to text."""

from .durations import duration, ordinal
from .exits import exit_meaning
from .quantities import quantity
from .summaries import summary

__all__ = ["duration", "exit_meaning", "ordinal", "quantity", "summary"]
