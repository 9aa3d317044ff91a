from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from webhooks import validation


@pytest.mark.parametrize(
    ("check_value", "good", "bad"),
    [
        (validation.event_patterns, ["program.*"], []),
        (validation.program_ids, [1, 2], [True]),
        (validation.conditions, {}, {"attr": 3}),
        (validation.retry_schedule, [], [0]),
        (validation.retry_schedule, [5, 30.5], ["5"]),
        (validation.retry_schedule, [604_800], [float("nan")]),
        (validation.timeout, 30, 31),
        (validation.concurrency, 10, 0),
        (validation.rate, 0.01, 0),
        (validation.bundle, 3600, -1),
    ],
)
def test_validators_accept_good_and_refuse_bad_values(check_value: Any, good: Any, bad: Any) -> None:
    check_value(good)
    with pytest.raises(ValidationError):
        check_value(bad)
