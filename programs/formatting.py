"""Text for numbers in the admin and on the terminal. `static/monitor/format.js` must produce the same."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from .descriptions.quantities import byte_count as bytes_text

__all__ = ["bytes_text", "duration_text", "exit_text", "percent_text"]

DURATION_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))  # seconds in each
ENDED_BY_SIGNAL = _("ended by %(signal)s")
EXIT_CODE = _("exit code %(code)s")


def duration_text(seconds: float) -> str:
    """The two largest units, the second only if it is not 0: `3d 4h`, `12m 5s`, `30m`, `7s`."""
    left = max(0, int(seconds))
    parts = []
    for size, unit in DURATION_UNITS:
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next((index for index, (count, _unit) in enumerate(parts) if count), len(parts) - 1)
    largest, *second = parts[first : first + 2]
    shown = [largest, *(part for part in second if part[0])]
    return " ".join(f"{count}{unit}" for count, unit in shown)


def percent_text(percent: float) -> str:
    return f"{percent:.1f} %" if percent < 100 else f"{percent:.0f} %"


def exit_text(exit_code: int | None, exit_signal: str | None) -> str:
    """Empty if the exit status is unknown. `static/monitor/program.js` has the same texts."""
    if exit_signal:
        return ENDED_BY_SIGNAL % {"signal": exit_signal}
    return "" if exit_code is None else EXIT_CODE % {"code": exit_code}
