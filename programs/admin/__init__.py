"""The admin of programs, their events and incidents, and hosts."""

from . import program, records

__all__ = ["program", "records"]
