"""Errors that each entry point (API, admin, commands) handles in its own way."""

from __future__ import annotations


class ConflictError(Exception):
    """The action is not possible in the present state: 409 over HTTP. The message is shown to users."""
