"""Errors that every entry point (API, admin, commands) answers in its own way."""

from __future__ import annotations


class ConflictError(Exception):
    """What was asked for makes no sense in the present state: 409 over HTTP. The message is fit for people."""
