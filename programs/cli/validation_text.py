"""What is wrong with a definition, line by line."""

from __future__ import annotations

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError


def validation_lines(error: ValidationError) -> list[str]:
    """`field: message`, one line each; only the message where it is about no single field."""
    if not hasattr(error, "error_dict"):
        return error.messages
    named = [(field, message) for field, messages in error.message_dict.items() for message in messages]
    return [message if field == NON_FIELD_ERRORS else f"{field}: {message}" for field, message in named]
