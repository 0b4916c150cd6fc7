"""The penalties on the coefficients, never on the intercept: value, gradient, precision and dual gap.

A penalty sees the coefficients as (n_features, n_outputs). `l2` is the precision of a Gaussian prior
on each of them, whatever the number of rows (scikit-learn's C = 1 / l2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from torchlogit.errors import InputError


class Penalty(Protocol):
    """A convex function of the coefficients, added to the weighted sum of losses."""

    def value(self, coef: Tensor) -> float:
        """Omega(coef)."""
        ...

    def gradient(self, coef: Tensor) -> Tensor:
        """Its derivative, the shape of coef."""
        ...

    def precision(self, n_features: int) -> Tensor:
        """Its second derivative by each feature's coefficient, (n_features,); 0 where a feature is free."""
        ...

    def fenchel_young(self, coef: Tensor, dual: Tensor, rounding: Tensor) -> float:
        """Omega(coef) + Omega*(dual) - <coef, dual> >= 0 over the penalised features: what they add to a gap.

        `rounding` (n_features, 1) bounds the error of each entry of dual; the result is then an upper bound.
        """
        ...


@dataclass(frozen=True, slots=True)
class NoPenalty:
    """Omega = 0: plain maximum likelihood."""

    def value(self, coef: Tensor) -> float:
        """0."""
        return 0.0

    def gradient(self, coef: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(coef)

    def precision(self, n_features: int) -> Tensor:
        """0 for every feature: all are free."""
        return torch.zeros(n_features, dtype=torch.float64)

    def fenchel_young(self, coef: Tensor, dual: Tensor, rounding: Tensor) -> float:
        """0: no feature is penalised."""
        return 0.0


@dataclass(frozen=True, slots=True)
class L2:
    """Omega = l2 / 2 * sum of squares.

    >>> L2(2.0).value(torch.tensor([[3.0]]))
    9.0
    """

    l2: float

    def __post_init__(self) -> None:
        if not (0 < self.l2 < float("inf")):
            raise InputError(f"l2={self.l2}: expected a positive finite number (use l2=0 for no penalty)")

    def value(self, coef: Tensor) -> float:
        """l2 / 2 * |coef|^2."""
        return 0.5 * self.l2 * float(coef.square().sum())

    def gradient(self, coef: Tensor) -> Tensor:
        """l2 * coef."""
        return self.l2 * coef

    def precision(self, n_features: int) -> Tensor:
        """l2 for every feature."""
        return torch.full((n_features,), self.l2, dtype=torch.float64)

    def fenchel_young(self, coef: Tensor, dual: Tensor, rounding: Tensor) -> float:
        """sum (|dual - l2 coef| + rounding)^2 / (2 l2), the rounding of the difference itself included."""
        gradient = self.l2 * coef
        slack = rounding + 2 * torch.finfo(coef.dtype).eps * (dual.abs() + gradient.abs())
        return float(((dual - gradient).abs() + slack).square().sum()) / (2 * self.l2)


def penalty_for(l2: float) -> Penalty:
    """The penalty for this strength: none for 0.

    >>> penalty_for(0)
    NoPenalty()
    """
    return L2(float(l2)) if l2 else NoPenalty()


PENALTIES: dict[str, Penalty] = {"none": NoPenalty(), "l2": L2(1.0)}
