"""Texts for exit codes, events, durations and amounts. Pure functions."""

from .exits import exit_meaning
from .quantities import duration, ordinal, quantity
from .summaries import summary

__all__ = ["duration", "exit_meaning", "ordinal", "quantity", "summary"]
