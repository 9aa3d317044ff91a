"""Who may do what, and who did what: roles, API tokens, log-ins and the audit trail. Guide: docs/access.md.

Guards of admin pages are in `core.access.guards`, which needs the admin installed.
"""

from .audit import audit, command_actor
from .principal import Principal
from .roles import Role, has_role, role_of, set_role
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
