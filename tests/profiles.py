"""How many examples hypothesis tries a property on: few and always the same, or many and others each time.

`make test` takes the profile "torchlogit", `make test-slow` the profile "thorough", by pytest's option
--hypothesis-profile. Properties that cost more or less than others say how many examples they get of the usual 25, by
`examples`; "thorough" has forty times as many of each.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

USUAL, THOROUGH = 25, 1000
FAST = settings(deadline=None, derandomize=True, max_examples=USUAL, suppress_health_check=[HealthCheck.too_slow])
PROFILES = {"torchlogit": FAST, "thorough": settings(FAST, derandomize=False, max_examples=THOROUGH)}


def examples(count: int, **other: Any) -> settings:
    """Settings of a property that is tried on `count` examples where others are tried on the usual number."""
    return settings(max_examples=max(1, count * settings().max_examples // USUAL), **other)
