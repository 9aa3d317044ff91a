"""The admin of programs, their events and incidents, and hosts."""

from . import events, program

__all__ = ["events", "program"]
