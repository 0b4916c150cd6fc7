"""The penalties by their definitions, on any array of numbers: value, gradient, curvature and conjugate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Array = Any  # numpy of any float dtype, object (mpmath) included


@dataclass(frozen=True, slots=True)
class Quadratic:
    """strength / 2 * sum of squares; strength 0 is no penalty."""

    strength: float

    def value(self, coef: Array) -> Array:
        """Omega(coef)."""
        return (coef * coef).sum() * self.strength / 2

    def gradient(self, coef: Array) -> Array:
        """Omega'(coef)."""
        return coef * self.strength

    def curvature(self) -> float:
        """Omega''."""
        return self.strength

    def conjugate(self, dual: Array) -> Array:
        """sup over coef of <coef, dual> - Omega(coef)."""
        if self.strength == 0:
            return 0 if not (dual != 0).any() else float("inf")
        return (dual * dual).sum() / (2 * self.strength)
