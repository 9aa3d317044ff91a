"""Which rule is meant, by name or id (a name wins over an id of the same digits); levels as people type them."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError

from core.cli.exit_codes import FailedError
from core.suggest import did_you_mean
from metrics.alerts.models import AlertRule

LONGEST_NUMBER = 19  # digits that any database's ids hold
LEVEL = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(%|[kmgt]?b(?:/s)?)?", re.IGNORECASE)
FACTORS = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def add_rule(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a rule's name or id")


def one(name: str) -> AlertRule:
    """Raises FailedError."""
    found = AlertRule.objects.filter(name=name).first()
    if found is None and name.isascii() and name.isdigit() and len(name) < LONGEST_NUMBER:
        found = AlertRule.objects.filter(pk=int(name)).first()
    if found is None:
        known = AlertRule.objects.values_list("name", flat=True)
        raise FailedError(f"There is no alert rule {name}.{did_you_mean(name, known)}")
    return found


def level(text: str) -> float:
    """`90`, `90%`, `1.5GB` or `10MB/s` (1 KB is 1,024 bytes). Raises ArgumentTypeError."""
    found = LEVEL.fullmatch(text.strip())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no level; write 90, 90%, 1.5GB or 10MB/s")
    return float(found[1]) * FACTORS.get((found[2] or "")[:1].lower(), 1)
