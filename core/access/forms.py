"""The log-in form of the admin."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import ngettext
from unfold.forms import AuthenticationForm

from .login import client_address, locked_until


class LoginForm(AuthenticationForm):
    """Tells users and strangers alike how long the brake is on, rather than that the password is wrong."""

    def get_invalid_login_error(self) -> ValidationError:
        until = locked_until(self.cleaned_data.get("username", ""), client_address(self.request))
        if until is None:
            return super().get_invalid_login_error()
        minutes = int((until - timezone.now()).total_seconds() // 60) + 1
        text = ngettext(
            "Too many attempts failed. Try again in %(minutes)d minute.",
            "Too many attempts failed. Try again in %(minutes)d minutes.",
            minutes,
        )
        return ValidationError(text % {"minutes": minutes}, code="throttled")
