"""The admin of access: people, groups, tokens and the audit trail."""

from django.contrib import admin

from core.access.forms import LoginForm

from . import accounts, tokens, trail

__all__ = ["accounts", "tokens", "trail"]

admin.site.login_form = LoginForm
