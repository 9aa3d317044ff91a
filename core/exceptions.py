"""Errors that each entry point (API, admin, commands) handles in its own way."""

from __future__ import annotations


class ConflictError(Exception):
    """The action is not possible in the present state: 409 over HTTP. The message is shown to users."""


class TooManyRequestsError(Exception):
    """A rate limit: 429 over HTTP, with `retry_after` in seconds. The message is shown to users."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
