"""The admin of access (people, groups, tokens, the audit trail) and of the monitor's own errors."""

from django.contrib import admin

from core.access.forms import LoginForm

from . import accounts, audit_trail, errors, tokens

__all__ = ["accounts", "audit_trail", "errors", "tokens"]

admin.site.login_form = LoginForm
