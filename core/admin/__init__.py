"""The admin of access (people, groups, tokens, the audit trail) and of the monitor's own errors."""

from django.contrib import admin

from core.access.forms import LoginForm

from . import accounts, errors, tokens, trail

__all__ = ["accounts", "errors", "tokens", "trail"]

admin.site.login_form = LoginForm
