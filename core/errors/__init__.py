"""Groups and counts the unhandled errors of every process.

Exceptions logged at ERROR or above are recorded (`capture`), buffered in memory (`buffer`) and soon written to the
database (`store`), by a thread or, in the agent, by its writer.
"""

from .capture import error_buffer, install

__all__ = ["error_buffer", "install"]
