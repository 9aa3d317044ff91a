"""The form that people define programs with. What it accepts is what `services.save_definition` accepts."""

from programs.warnings import definition_warnings

from .program import GROUPS, ProgramForm

__all__ = ["GROUPS", "ProgramForm", "definition_warnings"]
