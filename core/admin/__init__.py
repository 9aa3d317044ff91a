"""Admin pages of users, groups, API tokens, the audit trail and the monitor's own errors."""

from . import accounts, audit_trail, errors, tokens

__all__ = ["accounts", "audit_trail", "errors", "tokens"]
