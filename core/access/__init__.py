"""Roles, API tokens, the login throttle and the audit trail. Guide: docs/access.md.

The permissions of admin pages are in `core.access.permissions`, which needs the admin installed, and those of API
routes in `core.rest.auth`.
"""

from .audit import audit, command_actor
from .roles import Principal, Role, has_role, role_of, set_role
from .tokens import TokenError, authenticate_token, create_token, revoke_token

__all__ = [
    "Principal",
    "Role",
    "TokenError",
    "audit",
    "authenticate_token",
    "command_actor",
    "create_token",
    "has_role",
    "revoke_token",
    "role_of",
    "set_role",
]
