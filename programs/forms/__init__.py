"""The form of a program, and its parts that other forms share."""

from programs.warnings import definition_warnings

from .program import GROUPS, ProgramForm

__all__ = ["GROUPS", "ProgramForm", "definition_warnings"]
