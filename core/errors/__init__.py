"""Unhandled errors of every process, grouped by what went wrong where, and counted.

Whatever is logged with its exception at ERROR or above is noted (`watch`), kept in memory (`pending`) and written
soon after, by a thread or, in the agent, by its writer (`store`).
"""

from .capture import begin, ledger

__all__ = ["begin", "ledger"]
